package terraform

import (
	"regexp"
	"slices"
	"strings"

	"github.com/switchyard-dev/switchyard/operation"
)

// lockErrors are how Terraform and OpenTofu begin the error of a state that somebody else has locked. The second one is of init, which
// writes the first, empty state of the azurerm backend.
var lockErrors = []string{"Error acquiring the state lock", "failed to lock azure state"} //nolint:gochecknoglobals // constant

// httpHolder finds the id of who holds a lock of the http backend. What Terraform shows there as the lock's description is that of the
// lock that it could not take: https://github.com/hashicorp/terraform/blob/v1.11.4/internal/backend/remote-state/http/client.go
var httpHolder = regexp.MustCompile(`HTTP remote state already locked:\s+ID=(\S*)`) // lines are broken

// maxLockField bounds each field of a lock's description, in bytes.
const maxLockField = 512

// ParseLock reads from cleaned output who holds the state lock, nil when the output is about something else.
// Backends that know nothing about the holder leave fields empty.
func ParseLock(output string) *operation.LockInfo {
	i := slices.IndexFunc(lockErrors, func(begin string) bool { return strings.Contains(output, begin) })
	if i < 0 {
		return nil
	}
	info := &operation.LockInfo{}
	if holder := httpHolder.FindStringSubmatch(output); holder != nil {
		info.ID = clip(holder[1], maxLockField)
		return info
	}
	_, after, _ := strings.Cut(output, lockErrors[i])
	_, after, found := strings.Cut(after, "Lock Info:")
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
