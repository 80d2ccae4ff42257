package main_test

import (
	"strings"
	"testing"
)

func TestAProgramThatIsMissingIsSaidAtTheStart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	settings := []string{
		"SWITCHYARD_APP_ID=1", "SWITCHYARD_WEBHOOK_SECRETS=x", "SWITCHYARD_PRIVATE_KEY_FILE=" + key(t, dir), "SWITCHYARD_DATA_DIR=" + dir + "/data",
	}
	for name, c := range map[string]struct {
		call call
		want string
	}{
		"a server without git": {
			call{args: []string{"serve"}, env: append([]string{"PATH=" + dir}, settings...)}, "switchyard: git is not on PATH: install git",
		},
		"a server whose Terraform is not where the settings say": {
			call{args: []string{"serve"}, env: append([]string{"SWITCHYARD_TERRAFORM_PATH=" + dir + "/tofu"}, settings...)}, "terraform.path: ",
		},
		"a sandbox without git": {call{args: []string{"sandbox"}, env: []string{"PATH=" + dir, "TMPDIR=" + dir}}, "switchyard: git is not on PATH"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, stderr, status := c.call.switchyard(t)
			if status != 1 || !strings.Contains(stderr, c.want) || strings.Count(stderr, "\n") != 1 {
				t.Errorf("status %d, %q; want one line with %q", status, stderr, c.want)
			}
		})
	}
}

func TestALogForPeopleHasNoColoursWhereItIsNoTerminal(t *testing.T) {
	t.Parallel()
	temp := t.TempDir()
	_, stderr, status := call{args: []string{"sandbox", "--empty", "-v"}, env: []string{"TMPDIR=" + temp, "HOME=" + temp}}.switchyard(t)
	if status != 0 || !strings.Contains(stderr, "INF") || strings.Contains(stderr, "\x1b") {
		t.Errorf("status %d, %q; want lines without escape sequences", status, stderr)
	}
}
