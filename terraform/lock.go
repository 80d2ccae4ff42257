package terraform

import (
	"strings"

	"github.com/switchyard-dev/switchyard/operation"
)

// lockError is how Terraform and OpenTofu begin the error of a state that somebody else has locked.
const lockError = "Error acquiring the state lock"

// maxLockField bounds each field of a lock's description, in bytes.
const maxLockField = 512

// ParseLock reads from cleaned output who holds the state lock, nil when the output is about something else.
// Backends that know nothing about the holder leave fields empty.
func ParseLock(output string) *operation.LockInfo {
	_, after, found := strings.Cut(output, lockError)
	if !found {
		return nil
	}
	info := &operation.LockInfo{}
	_, after, found = strings.Cut(after, "Lock Info:")
	if !found {
		return info
	}
	fields := map[string]*string{
		"ID": &info.ID, "Path": &info.Path, "Operation": &info.Operation,
		"Who": &info.Who, "Version": &info.Version, "Created": &info.Created,
	}
	for line := range strings.SplitSeq(strings.TrimLeft(after, " \n"), "\n") {
		name, value, ok := strings.Cut(strings.TrimSpace(line), ":")
		if !ok {
			break
		}
		if field, known := fields[name]; known && *field == "" {
			*field = clip(strings.TrimSpace(value), maxLockField)
		}
	}
	return info
}

// clip cuts s to at most limit bytes, at the end of a character.
func clip(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	return strings.ToValidUTF8(s[:limit], "")
}
