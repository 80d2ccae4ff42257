package operation

// Isolation is what the operator of a host says about the confinement of Terraform and of all that it starts.
type Isolation struct {
	Read    []string     `json:"read,omitempty"`    // absolute paths that may be read too, with all that is below
	Write   []string     `json:"write,omitempty"`   // absolute paths that may be read and written too, with all that is below
	Missing []Protection `json:"missing,omitempty"` // what the host need not enforce; what it can is enforced all the same
}

// Protection is one part of the confinement, which a host may be too old for.
type Protection string

// The protections, each with the version of Landlock that brought it.
// https://docs.kernel.org/userspace-api/landlock.html#previous-limitations
const (
	ProtectFiles      Protection = "files"      // version 1, Linux 5.13: reading, writing, and looking into other processes
	ProtectTruncation Protection = "truncation" // version 3, Linux 6.2: emptying a file without opening it
	ProtectSignals    Protection = "signals"    // version 6, Linux 6.12: signals to other processes, and their abstract sockets
)

// Protections lists all of them.
func Protections() []Protection {
	return []Protection{ProtectFiles, ProtectTruncation, ProtectSignals}
}

// Danger says what the code of a pull request can do where a protection is missing.
func (p Protection) Danger() string {
	switch p {
	case ProtectFiles:
		return "it reads and changes every file that the server's user may: the App's key, the database, other work directories"
	case ProtectTruncation:
		return "it empties files that it can neither read nor write, such as the database"
	case ProtectSignals:
		return "it stops the server and other operations"
	}
	return "not known"
}
