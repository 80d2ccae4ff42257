package confine_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// secret is what the victim has in its environment, its memory and its files.
const secret = "correct-horse-battery-staple"

// scene is what a probe is told about the machine.
type scene struct {
	Victim  int    // process of the same user, which holds the secret
	Address uint64 // of the secret in its memory
	Fd      int    // of a file with the secret that the victim has open
	Socket  string // abstract name that the victim listens on
	Path    string // socket in the file system that the victim listens on
	TCP     string // address that the victim listens on
	Host    string // directory with everything of the server
	Own     string // directory that the program may write to
	Lent    string // directory that the program may read
}

// probe is one thing that hostile code tries, or honest code needs. No error means that it could.
type probe struct {
	name string
	try  func(s scene) error
}

// forbidden are the attempts that must fail when confined and that work when not.
func forbidden() []probe {
	probes := []probe{
		{"environment of the server", func(s scene) error { return reads(proc(s, "environ")) }},
		{"environment of the server through a thread", func(s scene) error {
			return reads(fmt.Sprintf("/proc/%d/task/%d/environ", s.Victim, s.Victim))
		}},
		{"memory of the server, /proc", memory},
		{"memory of the server, process_vm_readv", memoryCall},
		{"memory of the server, ptrace", attach},
		{"open file of the server, /proc", func(s scene) error { return reads(proc(s, "fd/"+strconv.Itoa(s.Fd))) }},
		{"open file of the server, pidfd", stealFile},
		{"file through the server's root directory", func(s scene) error {
			return reads(filepath.Join(proc(s, "root"), s.Host, "app.pem"))
		}},
		{"arguments of the server", func(s scene) error {
			_, err := os.ReadFile(proc(s, "cmdline"))
			return err
		}},
		{"abstract socket of the server", func(s scene) error { return dials("unix", s.Socket) }},
		{"signal to the server", func(s scene) error { return unix.Kill(s.Victim, unix.SIGUSR1) }},
		{"signal to a thread of the server", signalThread},
		{"list of work directories", func(s scene) error {
			_, err := os.ReadDir(filepath.Join(s.Host, "work"))
			return err
		}},
		{"link to the key and read it", func(s scene) error {
			name := filepath.Join(s.Own, "hard")
			if err := os.Link(filepath.Join(s.Host, "app.pem"), name); err != nil {
				return err
			}
			return reads(name)
		}},
		{"symbolic link to the key and read it", func(s scene) error {
			name := filepath.Join(s.Own, "soft")
			_ = os.Remove(name)
			if err := os.Symlink(filepath.Join(s.Host, "app.pem"), name); err != nil {
				return err
			}
			return reads(name)
		}},
		{"read the key through a child", func(s scene) error {
			out, err := exec.Command("/bin/cat", filepath.Join(s.Host, "app.pem")).Output() //nolint:noctx // ends at once
			return errors.Join(err, holds(out))
		}},
		{"write to the database", func(s scene) error { return writes(filepath.Join(s.Host, "switchyard.db")) }},
		{"empty the database", func(s scene) error { return os.Truncate(filepath.Join(s.Host, "empty.db"), 0) }},
		{"write to the plugin cache", func(s scene) error { return writes(filepath.Join(s.Lent, "provider")) }},
		{"add to the plugin cache", func(s scene) error { return os.Mkdir(filepath.Join(s.Lent, "evil"), 0o700) }},
		{"change a kept work directory", func(s scene) error { return writes(filepath.Join(s.Host, "work/other/main.tf")) }},
		{"remove from a kept work directory", func(s scene) error { return os.Remove(filepath.Join(s.Host, "work/other/old.tf")) }},
		{"move a file into a kept work directory", func(s scene) error {
			name := filepath.Join(s.Own, "moved")
			if err := os.WriteFile(name, nil, 0o600); err != nil {
				return err
			}
			return os.Rename(name, filepath.Join(s.Host, "work/other/moved"))
		}},
	}
	for _, name := range hostFiles() {
		probes = append(probes, probe{"read " + name, func(s scene) error { return reads(filepath.Join(s.Host, name)) }})
	}
	return probes
}

// hostFiles are files of the server, each with the secret.
func hostFiles() []string {
	return []string{
		"app.pem", "settings.yml", "switchyard.db", "mirrors/other.git/objects/1f/2e", "work/other/main.tf", "work/other/plans/p.tfplan",
		"runs/9-1/task.json", "runs/9-1/result.json", "runs/9-1/log",
	}
}

// allowed are what programs need: they must work when confined.
func allowed() []probe {
	return []probe{
		{"write, read and remove in its own directory", func(s scene) error {
			name := filepath.Join(s.Own, "mine")
			return errors.Join(writes(name), os.Truncate(name, 0), os.Chmod(name, 0o700), os.Rename(name, name+"2"), os.Remove(name+"2"))
		}},
		{"move between directories of its own", func(s scene) error {
			from, to := filepath.Join(s.Own, "a"), filepath.Join(s.Own, "b")
			return errors.Join(os.MkdirAll(from, 0o700), os.MkdirAll(to, 0o700), writes(filepath.Join(from, "x")),
				os.Rename(filepath.Join(from, "x"), filepath.Join(to, "x")))
		}},
		{"listen and dial in its own directory", func(s scene) error {
			name := filepath.Join(s.Own, "s")
			_ = os.Remove(name)
			listener, err := net.Listen("unix", name) //nolint:noctx // at once
			if err != nil {
				return err
			}
			return errors.Join(dials("unix", name), listener.Close())
		}},
		{"read what is lent", func(s scene) error {
			_, err := os.ReadFile(filepath.Join(s.Lent, "provider"))
			return err
		}},
		{"run a shell", func(scene) error {
			return exec.Command("/bin/sh", "-c", "cat /dev/null && echo x | cat >/dev/null && exec true </dev/null").Run() //nolint:noctx // ends at once
		}},
		{"signal a child", func(scene) error {
			child := exec.Command("/bin/sleep", "60") //nolint:noctx // killed below
			if err := child.Start(); err != nil {
				return err
			}
			err := child.Process.Signal(unix.SIGTERM)
			_ = child.Wait()
			return err
		}},
		{"resolve names", func(scene) error {
			_, err := net.LookupHost("localhost") //nolint:noctx // from /etc/hosts
			return err
		}},
		{"read certificates", func(scene) error {
			_, err := os.ReadDir("/etc/ssl/certs")
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			return err
		}},
		{"reach the network", func(s scene) error { return dials("tcp", s.TCP) }},
	}
}

// known are attempts that these means do not stop; docs/adr/0007 says so. When a kernel stops one, this list gets shorter.
func known() []probe {
	return []probe{
		{"change the mode of a file of the same user", func(s scene) error { return os.Chmod(filepath.Join(s.Host, "modes"), 0o640) }},
		{"dial a socket of the same user in the file system", func(s scene) error { return dials("unix", s.Path) }},
		{"see that a file exists, and its size", func(s scene) error {
			_, err := os.Stat(filepath.Join(s.Host, "app.pem"))
			return err
		}},
	}
}

// rights are what the kernel says about the program's own rights.
func rights() ([]string, error) {
	var header unix.CapUserHeader
	header.Version = unix.LINUX_CAPABILITY_VERSION_3
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return nil, err
	}
	noNew, err := unix.PrctlRetInt(unix.PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0)
	return []string{
		fmt.Sprintf("effective %x%08x", data[1].Effective, data[0].Effective),
		fmt.Sprintf("permitted %x%08x", data[1].Permitted, data[0].Permitted),
		fmt.Sprintf("no new privileges %d", noNew),
	}, err
}

func proc(s scene, name string) string { return fmt.Sprintf("/proc/%d/%s", s.Victim, name) }

// holds reports that data lacks the secret.
func holds(data []byte) error {
	if !bytes.Contains(data, []byte(secret)) {
		return errors.New("no secret in it")
	}
	return nil
}

func reads(name string) error {
	data, err := os.ReadFile(name) //nolint:gosec // that is what is tried
	if err != nil {
		return err
	}
	return holds(data)
}

func writes(name string) error {
	file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600) //nolint:gosec // that is what is tried
	if err != nil {
		return err
	}
	_, err = file.WriteString("x")
	return errors.Join(err, file.Close())
}

func dials(network, address string) error {
	conn, err := net.DialTimeout(network, address, 5*time.Second) //nolint:noctx // has a time limit
	if err != nil {
		return err
	}
	return conn.Close()
}

func memory(s scene) error {
	file, err := os.Open(proc(s, "mem"))
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	data := make([]byte, len(secret))
	if _, err := file.ReadAt(data, int64(s.Address)); err != nil { //nolint:gosec // an address
		return err
	}
	return holds(data)
}

func memoryCall(s scene) error {
	data := make([]byte, len(secret))
	local := []unix.Iovec{{Base: &data[0], Len: uint64(len(data))}}
	remote := []unix.RemoteIovec{{Base: uintptr(s.Address), Len: len(data)}}
	if _, err := unix.ProcessVMReadv(s.Victim, local, remote, 0); err != nil {
		return err
	}
	return holds(data)
}

func attach(s scene) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.PtraceSeize(s.Victim); err != nil {
		return err
	}
	if err := unix.PtraceInterrupt(s.Victim); err != nil {
		return err
	}
	if _, err := unix.Wait4(s.Victim, nil, unix.WALL, nil); err != nil {
		return err
	}
	return unix.PtraceDetach(s.Victim)
}

func stealFile(s scene) error {
	process, err := unix.PidfdOpen(s.Victim, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(process) }()
	fd, err := unix.PidfdGetfd(process, s.Fd, 0)
	if err != nil {
		return err
	}
	file := os.NewFile(uintptr(fd), "stolen") //nolint:gosec // a descriptor
	defer func() { _ = file.Close() }()
	data := make([]byte, len(secret))
	if _, err := file.ReadAt(data, 0); err != nil {
		return err
	}
	return holds(data)
}

func signalThread(s scene) error { return unix.Tgkill(s.Victim, s.Victim, unix.SIGUSR1) }

// answer is what a probing program found out: the error of each attempt, empty where it could.
type answer struct {
	Tried  map[string]string
	Rights []string
}

// playProbe tries everything and prints an answer.
func playProbe(argument string) int {
	var s scene
	if err := json.Unmarshal([]byte(argument), &s); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	found := answer{Tried: map[string]string{}}
	for _, list := range [][]probe{forbidden(), allowed(), known()} {
		for _, p := range list {
			found.Tried[p.name] = ""
			if err := p.try(s); err != nil {
				found.Tried[p.name] = err.Error()
			}
		}
	}
	var err error
	if found.Rights, err = rights(); err == nil {
		err = json.NewEncoder(os.Stdout).Encode(found)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// playVictim holds the secret, says where, and lives until its standard input ends.
func playVictim(dir string) int {
	s, stop, err := beVictim(dir)
	if err == nil {
		defer stop()
		err = json.NewEncoder(os.Stdout).Encode(s)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	_, _ = os.Stdin.Read(make([]byte, 1))
	return 0
}

// held is the secret in the victim's memory.
var held = []byte(strings.Clone(secret))
