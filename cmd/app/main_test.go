package main_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	app "github.com/switchyard-dev/switchyard/cmd/app"
	"github.com/switchyard-dev/switchyard/store/pgtest"
)

var update = flag.Bool("update", false, "write the golden files and the generated parts of the documentation anew")

// beSwitchyard makes this test binary the program: the environment variable is not of our prefix, which
// the server would refuse.
const beSwitchyard = "TEST_BE_SWITCHYARD"

func TestMain(m *testing.M) {
	if os.Getenv(beSwitchyard) != "" {
		_ = os.Unsetenv(beSwitchyard)
		app.Main()
		os.Exit(0)
	}
	flag.Parse()
	os.Exit(pgtest.Main(m))
}

// call is one run of the program.
type call struct {
	dir   string
	env   []string // the whole environment
	stdin string
	args  []string
}

// switchyard runs the program through its real entry, and gives what it printed to both streams and its status.
func (c call) switchyard(t *testing.T) (stdout, stderr string, status int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(ctx, program, c.args...)
	cmd.Dir = c.dir
	cmd.Env = append([]string{beSwitchyard + "=1", "PATH=" + os.Getenv("PATH")}, c.env...)
	cmd.Stdin = strings.NewReader(c.stdin)
	var out, problems bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &problems
	err = cmd.Run()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return out.String(), problems.String(), cmd.ProcessState.ExitCode()
}

// transcript is a call as a person would see it in a terminal.
func (c call) transcript(t *testing.T) string {
	t.Helper()
	stdout, stderr, status := c.switchyard(t)
	var text strings.Builder
	text.WriteString("$ switchyard")
	for _, arg := range c.args {
		if arg == "" || strings.ContainsAny(arg, " \"'") {
			arg = "'" + arg + "'"
		}
		text.WriteString(" " + arg)
	}
	text.WriteString("\n" + stdout)
	if stderr != "" {
		text.WriteString("--- standard error\n" + stderr)
	}
	if status != 0 {
		fmt.Fprintf(&text, "--- exit status %d\n", status)
	}
	return text.String()
}

const good = `version: 1
application: network
environments:
  dev:  { branch: develop }
  test: { branch: [release, "release/*"] }
  prod: { branch: main }
roots:
  - dir: src/terraform
    backend: { key: "{application}-{environment}" }
commands:
  unlock: { teams: [sre] }
`

const bad = `version: 1
environments:
  dev: { brnch: develop }
roots:
  - dir: ../outside
    var_file: [dev.tfvars]
executor: jenkins
`

// files makes a directory with the files that calls name.
func files(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	var many strings.Builder
	many.WriteString(good)
	for i := range 30 {
		fmt.Fprintf(&many, "key%d: 1\n", i)
	}
	for name, content := range map[string]string{
		"good.yml": good, "bad.yml": bad, "many.yml": many.String(), "empty.yml": "",
		"large.yml": strings.Repeat("a: b\n", 400_000), "medium.yml": strings.Repeat("# none\n", 20_000),
		"garbage.yml": "\x00\xff\xfe\x1b[2J\x80version: 1\n", "directory/.github/switchyard.yml": good,
		"secretless.yml": "app_id: 123456\nwebhook_secrets: [\"\"]\nlog: { level: lots }\n",
	} {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestWhatThePersonAtTheTerminalSees(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]call{
		"help":            {args: []string{"--help"}},
		"help-serve":      {args: []string{"serve", "--help"}},
		"help-check":      {args: []string{"check", "--help"}},
		"help-audit":      {args: []string{"audit", "--help"}},
		"help-sandbox":    {args: []string{"sandbox", "--help"}},
		"no-command":      {},
		"unknown-command": {args: []string{"chek"}},
		"unknown-flag":    {args: []string{"serve", "--confg", "x"}},
		"too-much":        {args: []string{"check", "good.yml", "bad.yml"}},
		"help-version":    {args: []string{"version", "--help"}},

		"check-good":      {args: []string{"check", "good.yml"}},
		"check-bad":       {args: []string{"check", "bad.yml"}},
		"check-many":      {args: []string{"check", "many.yml"}},
		"check-empty":     {args: []string{"check", "empty.yml"}},
		"check-missing":   {args: []string{"check", "nowhere.yml"}},
		"check-default":   {args: []string{"check"}},
		"check-directory": {args: []string{"check", "directory"}},
		"check-large":     {args: []string{"check", "large.yml"}},
		"check-medium":    {args: []string{"check", "medium.yml"}},
		"check-garbage":   {args: []string{"check", "garbage.yml"}},
		"check-stdin":     {args: []string{"check", "-"}, stdin: good},
		"check-stdin-bad": {args: []string{"check", "-"}, stdin: bad},

		"pull-allowed":     {args: []string{"check", "good.yml", "--pr", "feature/x:develop"}},
		"pull-refused":     {args: []string{"check", "good.yml", "--pr", "feature/x:main"}},
		"pull-unmapped":    {args: []string{"check", "good.yml", "--pr", "feature/x:spike/y"}},
		"pull-two":         {args: []string{"check", "good.yml", "--pr", "fix/x:release/1.0", "--pr", "release/1.0:main", "--release", "release/1.0"}},
		"pull-with-commas": {args: []string{"check", "good.yml", "--pr", "feature/a,b:develop"}},
		"pull-not-a-pair":  {args: []string{"check", "good.yml", "--pr", "feature/x"}},
		"pull-two-refused": {args: []string{"check", "good.yml", "--pr", "feature/x:main", "--pr", "feature/x:develop"}},
		"push":             {args: []string{"check", "good.yml", "--push", "main"}},
		"push-unmapped":    {args: []string{"check", "good.yml", "--push", "feature/x"}},
		"push-older":       {args: []string{"check", "good.yml", "--push", "release/1.0", "--release", "release/1.1"}},

		"comment":             {args: []string{"check", "good.yml", "--comment", "/apply prod", "--as", "write"}},
		"comment-reader":      {args: []string{"check", "good.yml", "--comment", "/apply prod", "--as", "read"}},
		"comment-typo":        {args: []string{"check", "good.yml", "--comment", "/aply prod"}},
		"comment-talk":        {args: []string{"check", "good.yml", "--comment", "please apply"}},
		"comment-help":        {args: []string{"check", "good.yml", "--comment", "/help", "--as", "maintain"}},
		"comment-root":        {args: []string{"check", "good.yml", "--comment", "/plan src/terraform", "--on", "fix/x:release/1.0"}},
		"comment-with-commas": {args: []string{"check", "good.yml", "--comment", "/plan a,b"}},
		"comment-no-team":     {args: []string{"check", "good.yml", "--comment", "/unlock prod", "--as", "maintain"}},
		"comment-team":        {args: []string{"check", "good.yml", "--comment", "/unlock prod", "--as", "maintain", "--team", "sre"}},
		"comment-as-nobody":   {args: []string{"check", "good.yml", "--comment", "/help", "--as", "king"}},

		"serve-without-settings":      {args: []string{"serve"}},
		"serve-without-secret":        {args: []string{"serve", "--config", "secretless.yml"}},
		"serve-without-file":          {args: []string{"serve", "--config", "nowhere.yml"}},
		"serve-with-an-empty-secret":  {args: []string{"serve"}, env: []string{"SWITCHYARD_APP_ID=1", "SWITCHYARD_WEBHOOK_SECRETS= ,"}},
		"serve-with-a-wrong-value":    {args: []string{"serve"}, env: []string{"SWITCHYARD_APP_ID=mine", "SWITCHYARD_LISTEN=8080"}},
		"serve-with-a-misspelt-value": {args: []string{"serve"}, env: []string{"SWITCHYARD_APPID=1"}},
		"run-without-a-task":          {args: []string{"run"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.dir = files(t)
			same(t, filepath.Join("testdata", name+".golden"), c.transcript(t))
		})
	}
}

func TestTheVersionIsPrinted(t *testing.T) {
	t.Parallel()
	var printed []string
	for _, arg := range []string{"version", "--version"} {
		stdout, stderr, status := call{args: []string{arg}}.switchyard(t)
		if !strings.HasPrefix(stdout, "switchyard ") || len(strings.Fields(stdout)) != 2 || stderr != "" || status != 0 {
			t.Errorf("%s: got %q, %q, status %d; want one line with the version", arg, stdout, stderr, status)
		}
		printed = append(printed, stdout)
	}
	if printed[0] != printed[1] {
		t.Errorf("the command and the flag print different versions: %q", printed)
	}
}

func TestTheSandboxLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	temp := t.TempDir()
	stdout, stderr, status := call{args: []string{"sandbox", "--empty"}, env: []string{"TMPDIR=" + temp, "HOME=" + temp}}.switchyard(t)
	if status != 0 || stderr != "" {
		t.Fatalf("status %d: %s%s", status, stdout, stderr)
	}
	left, err := os.ReadDir(temp)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range left {
		t.Errorf("%s was left behind", entry.Name())
	}
}

func TestASandboxThatStrangersCouldReachIsRefused(t *testing.T) {
	t.Parallel()
	temp := t.TempDir()
	_, stderr, status := call{args: []string{"sandbox", "--empty", "--addr", "0.0.0.0:0"}, env: []string{"TMPDIR=" + temp, "HOME=" + temp}}.switchyard(t)
	if status == 0 || !strings.Contains(stderr, "0.0.0.0:0") {
		t.Errorf("status %d, %q; want a refusal that names the address", status, stderr)
	}
}

// same compares text with a golden file, or writes it.
func same(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v (go test -update writes it)", err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s reads differently (-file +now); go test ./cmd/app -update writes it anew:\n%s", file, diff)
	}
}
