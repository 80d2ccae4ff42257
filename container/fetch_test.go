// Package container_test tries what runs before the action's binary does.
package container_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

const asset = "/v1.2.3/switchyard_v1.2.3_linux_amd64.tar.gz"

// archive is a release's file, with a program that says its version.
func archive(t *testing.T, name string) []byte {
	t.Helper()
	program := "#!/bin/sh\n[ \"$1\" = version ] && echo switchyard v1.2.3\n"
	var data bytes.Buffer
	packed := gzip.NewWriter(&data)
	files := tar.NewWriter(packed)
	if err := files.WriteHeader(&tar.Header{Name: name, Mode: 0o755, Size: int64(len(program))}); err != nil {
		t.Fatal(err)
	}
	if _, err := files.Write([]byte(program)); err != nil {
		t.Fatal(err)
	}
	if err := files.Close(); err != nil {
		t.Fatal(err)
	}
	if err := packed.Close(); err != nil {
		t.Fatal(err)
	}
	return data.Bytes()
}

// releases is a server with files of a release.
type releases struct {
	*httptest.Server

	mu    sync.Mutex
	asked []string
}

func serve(t *testing.T, answer http.HandlerFunc) *releases {
	t.Helper()
	r := &releases{}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		r.mu.Lock()
		r.asked = append(r.asked, request.URL.Path)
		r.mu.Unlock()
		if request.Header.Get("Authorization") != "" {
			t.Error("a token was sent")
		}
		answer(w, request)
	}))
	t.Cleanup(r.Close)
	return r
}

// fetched is what the script left.
type fetched struct {
	log, outputs string
	ok           bool
	slept        string // the pauses that it would have made
	temp         string
}

// fetch runs a copy of the script with its own checksums; env is added to what GitHub's runner sets.
func fetch(t *testing.T, checksums string, env ...string) fetched {
	t.Helper()
	dir := t.TempDir()
	script, err := os.ReadFile("fetch.sh")
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "fetch.sh"), string(script))
	write(t, filepath.Join(dir, "checksums.txt"), checksums)
	write(t, filepath.Join(dir, "bin", "sleep"), "#!/bin/sh\necho \"$1\" >> "+filepath.Join(dir, "slept")+"\n")
	write(t, filepath.Join(dir, "temp", "another-job"), "")
	write(t, filepath.Join(dir, `D:\a\_temp`, "another-job"), "")
	run := exec.CommandContext(t.Context(), "bash", filepath.Join(dir, "fetch.sh"))
	run.Dir = dir
	run.Env = append([]string{
		"PATH=" + filepath.Join(dir, "bin") + ":" + os.Getenv("PATH"), "RUNNER_OS=Linux", "RUNNER_ARCH=X64",
		"RUNNER_TEMP=" + filepath.Join(dir, "temp"), "GITHUB_OUTPUT=" + filepath.Join(dir, "output"), "GITHUB_SERVER_URL=https://github.com",
		"no_proxy=127.0.0.1",
	}, env...)
	log, err := run.CombinedOutput()
	outputs, _ := os.ReadFile(filepath.Join(dir, "output"))
	slept, _ := os.ReadFile(filepath.Join(dir, "slept"))
	return fetched{
		log: string(log), outputs: string(outputs), ok: err == nil, slept: strings.Join(strings.Fields(string(slept)), " "),
		temp: filepath.Join(dir, "temp"),
	}
}

func write(t *testing.T, name, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(content), 0o700); err != nil { //nolint:gosec // some are programs
		t.Fatal(err)
	}
}

func sum(data []byte) string {
	hash := sha256.Sum256(data)
	return hex.EncodeToString(hash[:])
}

// listed is a checksums.txt that names the file of linux/amd64 and one more.
func listed(data []byte) string {
	return fmt.Sprintf("# a comment\n%s  switchyard_v1.2.3_linux_amd64.tar.gz\n%s  switchyard_v1.2.3_windows_arm64.tar.gz\n", sum(data), sum(data))
}

func TestFetch(t *testing.T) {
	t.Parallel()
	good := archive(t, "switchyard")
	whole := func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(good) }
	for name, c := range map[string]struct {
		checksums string
		answer    http.HandlerFunc
		env       []string
		ok        bool
		says      []string
		slept     string
		asked     int
	}{
		"the file of the release is downloaded and unpacked": {
			checksums: listed(good), answer: whole, ok: true, asked: 1,
			says: []string{fmt.Sprintf("downloaded %d bytes: http", len(good)), "switchyard v1.2.3"},
		},
		"a file with another checksum is not unpacked": {
			checksums: listed([]byte("another")), answer: whole, asked: 1,
			says: []string{"its SHA-256 is " + sum(good), "that of the release is " + sum([]byte("another")), "::error title=Switchyard::"},
		},
		"a page that a proxy shows instead is not unpacked": {
			checksums: listed(good), answer: func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>log in")) }, asked: 1,
			says: []string{"its SHA-256 is"},
		},
		"a file that is not there is not asked for again": {
			checksums: listed(good), answer: http.NotFound, asked: 1, says: []string{"the server answered 404", "SWITCHYARD_RELEASES"},
		},
		"a server that fails is asked four times": {
			checksums: listed(good), asked: 4, slept: "1 2 4", says: []string{"the server answered 503 (try 4 of 4)"},
			answer: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) },
		},
		"a connection that breaks is tried again": {
			checksums: listed(good), asked: 4, slept: "1 2 4", says: []string{"closed before the file was complete (try 4 of 4)"},
			answer: func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Length", "100000")
				_, _ = w.Write(good)
			},
		},
		"a file that is too large is not read": {
			checksums: listed(good), asked: 1, says: []string{"larger than 209715200 bytes"},
			answer: func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Content-Length", "209715201") },
		},
		"a commit that is no release says what to do": {
			checksums: "# nothing yet\n", answer: whole, says: []string{"no release", "Name a release in `uses`", "input `binary`"},
		},
		"a list that is no list of ours is no release": {
			checksums: sum(good) + "  switchyard_v1.2.3/../../x_linux_amd64.tar.gz\n" + sum(good) + " *switchyard_v1.2.3_linux_amd64.tar.gz\n",
			answer:    whole, says: []string{"no release"},
		},
		"a machine for which there is no release is told which there are": {
			checksums: listed(good), answer: whole, env: []string{"RUNNER_ARCH=ARM"},
			says: []string{"There is no release for linux_ARM, only for: linux_amd64 windows_arm64."},
		},
		"a machine without GitHub's variables is asked itself": {
			checksums: strings.ReplaceAll(listed(good), "linux_amd64", "linux_"+goarch(t)), answer: whole, ok: true, asked: 1,
			env: []string{"RUNNER_OS=", "RUNNER_ARCH="}, says: []string{"downloaded"},
		},
		"a program on the machine is taken as it is": {
			checksums: "", answer: whole, env: []string{"SWITCHYARD_BINARY=" + program(t)}, ok: true, says: []string{"switchyard v9"},
		},
		"a program that is not there is named": {
			checksums: listed(good), answer: whole, env: []string{"SWITCHYARD_BINARY=/nowhere/switchyard"}, says: []string{"/nowhere/switchyard, and there is no"},
		},
		"a path cannot write another output": {
			checksums: listed(good), answer: whole, env: []string{"SWITCHYARD_BINARY=/bin/sh\nbinary=/tmp/x"}, says: []string{"more than one line"},
		},
		"a program that does not run on this machine is not handed over": {
			checksums: listed(good), answer: whole, env: []string{"SWITCHYARD_BINARY=/bin/false"}, says: []string{"does not run on this machine"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := serve(t, c.answer)
			got := fetch(t, c.checksums, append([]string{"SWITCHYARD_RELEASES=" + server.URL + "/"}, c.env...)...)
			if got.ok != c.ok || got.slept != c.slept || len(server.asked) != c.asked {
				t.Errorf("ok %t, paused %q, asked %q\n%s", got.ok, got.slept, server.asked, got.log)
			}
			for _, text := range c.says {
				if !strings.Contains(got.log, text) {
					t.Errorf("the log does not say %q:\n%s", text, got.log)
				}
			}
			left, err := filepath.Glob(got.temp + "/switchyard.*")
			if err != nil || c.ok == (got.outputs == "") || !c.ok && len(left) > 0 {
				t.Errorf("outputs %q, left %q, %v", got.outputs, left, err)
			}
			for _, path := range server.asked {
				if want := strings.ReplaceAll(asset, "amd64", goarch(t)); path != asset && path != want {
					t.Errorf("asked for %s", path)
				}
			}
		})
	}
}

func TestAServerOfOnesOwnIsAskedFirst(t *testing.T) {
	t.Parallel()
	good := archive(t, "switchyard.exe")
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/switchyard-dev/switchyard/releases/download/v1.2.3/switchyard_v1.2.3_windows_arm64.tar.gz" {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write(good)
	})
	got := fetch(t, listed(good), "GITHUB_SERVER_URL="+server.URL, "RUNNER_OS=Windows", "RUNNER_ARCH=ARM64")
	if !got.ok || !strings.HasSuffix(got.outputs, "/switchyard.exe\n") || len(server.asked) != 1 {
		t.Errorf("asked %q\n%s%s", server.asked, got.log, got.outputs)
	}
}

// TestAPathOfWindowsIsNoMachine has the paths of GitHub's machines with Windows. Here they are names of one part, in the directory that the
// script starts in; what begins with a letter and a colon means to GNU tar, which Git Bash has, a file on another machine.
func TestAPathOfWindowsIsNoMachine(t *testing.T) {
	t.Parallel()
	good := archive(t, "switchyard.exe")
	server := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(good) })
	got := fetch(t, listed(good), "SWITCHYARD_RELEASES="+server.URL, "RUNNER_OS=Windows", "RUNNER_ARCH=ARM64", `RUNNER_TEMP=D:\a\_temp`)
	if !got.ok || !strings.HasPrefix(got.outputs, `binary=D:\a\_temp/switchyard.`) || !strings.HasSuffix(got.outputs, "/switchyard.exe\n") {
		t.Errorf("%s%s", got.log, got.outputs)
	}
}

func TestADownloadGoesThroughTheProxy(t *testing.T) {
	t.Parallel()
	good := archive(t, "switchyard")
	proxy := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Host != "mirror.example" {
			http.Error(w, "not through here", http.StatusForbidden)
			return
		}
		_, _ = w.Write(good)
	})
	got := fetch(t, listed(good), "SWITCHYARD_RELEASES=http://mirror.example", "http_proxy="+proxy.URL)
	if !got.ok || len(proxy.asked) != 1 {
		t.Errorf("asked %q\n%s", proxy.asked, got.log)
	}
}

// TestScriptsAreClean holds the scripts to shellcheck, where it is installed.
func TestScriptsAreClean(t *testing.T) {
	t.Parallel()
	checker, err := exec.LookPath("shellcheck")
	if err != nil {
		t.Skip("shellcheck is not installed; `make lint` installs it where it may")
	}
	scripts, err := filepath.Glob("*.sh")
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), checker, append(scripts, "terraform", "packages")...).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// goarch is what releases call this machine's processor.
func goarch(t *testing.T) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "uname", "-m").Output()
	if err != nil {
		t.Fatal(err)
	}
	if machine := strings.TrimSpace(string(out)); machine != "x86_64" {
		return "arm64"
	}
	return "amd64"
}

// program is a switchyard that is on the machine already.
func program(t *testing.T) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "my switchyard")
	write(t, name, "#!/bin/sh\necho switchyard v9\n")
	return name
}
