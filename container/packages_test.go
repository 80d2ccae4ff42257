package container_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestOnlyWhatIsMissingIsInstalled runs the script on machines that have this and that.
func TestOnlyWhatIsMissingIsInstalled(t *testing.T) {
	t.Parallel()
	const whole = "echo --bounding-set"
	certificates := "\x00" // nothing
	if _, err := os.Stat("/etc/ssl/certs/ca-certificates.crt"); err != nil {
		certificates = " ca-certificates"
	}
	for name, c := range map[string]struct {
		programs map[string]string // beside grep and echo
		want     string
		ok       bool
	}{
		"a base that has all of it": {map[string]string{"git": "", "tini": "", "setpriv": whole, "apk": ""}, "", true},
		"Alpine":                    {map[string]string{"setpriv": "echo BusyBox", "apk": ""}, "apk add --no-cache git tini setpriv", true},
		"Debian": {
			map[string]string{"setpriv": "exit 1", "git": "", "apt-get": ""}, "apt-get install --yes --no-install-recommends tini util-linux", true,
		},
		"a base without a package manager": {map[string]string{"git": "", "setpriv": whole}, "the base image lacks tini", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			for program, script := range c.programs {
				write(t, filepath.Join(dir, program), "#!/bin/sh\n"+script+"\necho \""+program+" $*\" >> "+dir+"/log\n")
			}
			for _, program := range []string{"grep", "sed"} {
				found, err := exec.LookPath(program)
				if err != nil {
					t.Fatal(err)
				}
				if err := os.Symlink(found, filepath.Join(dir, program)); err != nil {
					t.Fatal(err)
				}
			}
			write(t, filepath.Join(dir, "rm"), "#!/bin/sh\n") // it must not touch this machine's lists
			run := exec.CommandContext(t.Context(), "/bin/sh", "packages")
			run.Env = []string{"PATH=" + dir, "SETPRIV=" + filepath.Join(dir, "setpriv")}
			out, err := run.CombinedOutput()
			log, _ := os.ReadFile(filepath.Join(dir, "log"))
			said := strings.TrimSpace(strings.ReplaceAll(string(out)+string(log), certificates, ""))
			if (err == nil) != c.ok || c.want != "" && !strings.Contains(said, c.want) || c.want == "" && strings.Contains(said, "apk") {
				t.Errorf("%v: %s", err, said)
			}
		})
	}
}
