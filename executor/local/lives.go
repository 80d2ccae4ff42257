package local

import "path/filepath"

// Lives reports whether anything of an attempt still runs on this host: its runner, or Terraform without it.
func (l *Local) Lives(operationID int64, number int, launch string) bool {
	if launch != "" && !filepath.IsLocal(launch) {
		return false
	}
	return running(l.attemptDir(operationID, number, launch))
}
