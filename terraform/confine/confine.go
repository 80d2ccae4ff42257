// Package confine starts a program so that it, and all that it ever starts, can use a given part of this machine only.
// Room terraform calls it for each process that runs code of a repository; the server asks it what this host can protect.
// It closes files, the memory and environment of other processes, and signals to them. It leaves the network alone, and
// never lets a program run with less protection than its policy asks for.
//
// docs/adr/0007-isolation-of-plan-code.md says what was measured and why it is done this way.
package confine

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/switchyard-dev/switchyard/operation"
)

// least is the version of Landlock that brought a protection.
func least(p operation.Protection) int {
	const files, truncation, signals = 1, 3, 6
	switch p {
	case operation.ProtectFiles:
		return files
	case operation.ProtectTruncation:
		return truncation
	case operation.ProtectSignals:
		return signals
	}
	return math.MaxInt // unknown: no kernel enforces it
}

// Missing lists what this host cannot enforce.
func Missing() []operation.Protection { return missing(landlockVersion()) }

// missing lists what a version of Landlock cannot enforce; 0 is none at all.
func missing(version int) []operation.Protection {
	return slices.DeleteFunc(operation.Protections(), func(p operation.Protection) bool { return version >= least(p) })
}

// MissingError says that this host cannot enforce what a policy asks for.
type MissingError struct{ Protections []operation.Protection }

// Error names each protection, what its absence means, and what to do.
func (e *MissingError) Error() string {
	var text strings.Builder
	text.WriteString("this host cannot isolate the code of pull requests.")
	names := make([]string, 0, len(e.Protections))
	for _, p := range e.Protections {
		fmt.Fprintf(&text, " Without %q %s.", p, p.Danger())
		names = append(names, string(p))
	}
	fmt.Fprintf(&text, " Use Linux 6.12 or newer with Landlock, or accept it by name: isolation.missing: [%s]", strings.Join(names, ", "))
	return text.String()
}

// Require gives a MissingError unless this host enforces every protection but the accepted ones.
func Require(accepted []operation.Protection) error { return require(landlockVersion(), accepted) }

func require(version int, accepted []operation.Protection) error {
	lacking := slices.DeleteFunc(missing(version), func(p operation.Protection) bool { return slices.Contains(accepted, p) })
	if len(lacking) == 0 {
		return nil
	}
	return &MissingError{Protections: lacking}
}

// Policy is what a program may use, beside what every program needs (see system). A path stands for all that is below it;
// a symbolic link for where it leads. Names and metadata of other files can be seen, their content cannot.
type Policy struct {
	Read     []string               // may be read and executed; each must exist
	Write    []string               // may be read, executed, changed and removed; each must exist
	Optional []string               // like Read; those that do not exist are left out
	Accepted []operation.Protection // may be missing on this host
}

// With is the policy with further paths that may be written.
func (p Policy) With(write ...string) Policy {
	p.Write = slices.Concat(p.Write, write)
	return p
}

// system is what programs need of a Linux machine, and what holds no secrets. /etc is not among it as a whole: the
// server's own settings may be there. Nor is /proc: other operations' arguments are there.
func system() []string {
	return []string{
		"/bin", "/sbin", "/usr", "/lib", "/lib32", "/lib64", "/libx32", "/nix/store",
		"/etc/alternatives", "/etc/ca-certificates", "/etc/ca-certificates.conf", "/etc/crypto-policies", "/etc/debian_version",
		"/etc/gai.conf", "/etc/gitconfig", "/etc/group", "/etc/host.conf", "/etc/hostname", "/etc/hosts", "/etc/inputrc",
		"/etc/ld-musl-aarch64.path", "/etc/ld-musl-x86_64.path", "/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d",
		"/etc/ld.so.preload", "/etc/localtime", "/etc/mime.types", "/etc/nsswitch.conf", "/etc/openssl.cnf", "/etc/os-release",
		"/etc/passwd", "/etc/pki/ca-trust", "/etc/pki/tls/cert.pem", "/etc/pki/tls/certs", "/etc/pki/tls/openssl.cnf", "/etc/profile",
		"/etc/protocols", "/etc/resolv.conf", "/etc/services", "/etc/ssh/ssh_config", "/etc/ssh/ssh_config.d", "/etc/ssh/ssh_known_hosts",
		"/etc/ssl/cert.pem", "/etc/ssl/certs", "/etc/ssl/openssl.cnf", "/etc/timezone", "/run/systemd/resolve",
		"/proc/cpuinfo", "/proc/filesystems", "/proc/loadavg", "/proc/meminfo", "/proc/stat", "/proc/sys", "/proc/uptime", "/proc/version",
		"/sys/devices/system/cpu", "/sys/devices/system/node", "/sys/fs/cgroup", "/sys/kernel/mm/transparent_hugepage",
		"/dev/random", "/dev/urandom",
	}
}

// sinks are devices that everybody may write to.
func sinks() []string { return []string{"/dev/full", "/dev/null", "/dev/zero"} }
