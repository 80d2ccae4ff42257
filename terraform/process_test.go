package terraform_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/terraform"
	"github.com/switchyard-dev/switchyard/terraform/terraformtest"
)

var errStop = errors.New("a person said so")

func rootOf(t *testing.T, fake *terraformtest.Fake, grace time.Duration) (*terraform.Root, string) {
	t.Helper()
	dir := t.TempDir()
	tool := terraform.Tool{Path: fake.Path, Env: []string{"PATH=" + os.Getenv("PATH"), "ONLY=this"}, StopGrace: grace}
	return tool.Root(dir, "../data"), dir
}

func TestCommandsAreGivenAsArguments(t *testing.T) {
	t.Parallel()
	fake := terraformtest.New(t, nil)
	root, dir := rootOf(t, fake, 0)
	plan := filepath.Join(dir, "a plan")
	for _, err := range []error{
		root.Init(t.Context(), map[string]string{"key": "$(id) \"x\"\n", "a": "b=c"}, "/cache"),
		root.Plan(t.Context(), terraform.PlanOptions{
			Out: plan, VarFiles: []string{"env/dev one.tfvars", "-lock"}, Vars: map[string]string{"name": "a b"},
		}),
		root.Plan(t.Context(), terraform.PlanOptions{Out: plan, Lock: true, LockTimeout: time.Minute}),
		root.Show(t.Context(), plan, func(r io.Reader) error { _, err := io.ReadAll(r); return err }),
		root.Apply(t.Context(), plan, 0, filepath.Join(dir, "log")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	var got [][]string
	for _, call := range fake.Calls(t) {
		got = append(got, call.Args)
		if call.Dir != dir {
			t.Errorf("ran in %s", call.Dir)
		}
	}
	want := [][]string{
		{"init", "-input=false", "-no-color", "-reconfigure", "-backend-config=a=b=c", "-backend-config=key=$(id) \"x\"\n"},
		{"plan", "-input=false", "-no-color", "-out=" + plan, "-lock=false", "-var-file=env/dev one.tfvars", "-var-file=-lock", "-var=name=a b"},
		{"plan", "-input=false", "-no-color", "-out=" + plan, "-lock-timeout=1m0s"},
		{"show", "-json", "-no-color", plan},
		{"apply", "-input=false", "-no-color", "-lock-timeout=0s", plan},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if root.Processes() != 5 {
		t.Errorf("counted %d processes", root.Processes())
	}
	env := fake.Calls(t)[1].Env
	slices.Sort(env)
	if diff := cmp.Diff([]string{"ONLY=this", "PATH=" + os.Getenv("PATH"), "TF_DATA_DIR=../data"}, env); diff != "" {
		t.Errorf("its environment: %s", diff)
	}
	if !slices.Contains(fake.Calls(t)[0].Env, "TF_PLUGIN_CACHE_DIR=/cache") {
		t.Error("init was not told of the plugin cache")
	}
}

func TestFailureKeepsTheWordsOfTerraform(t *testing.T) {
	t.Parallel()
	fake := terraformtest.New(t, map[string]terraformtest.Act{
		"init":  {Exit: 1, Stderr: "\x1b[31m╷\x1b[0m\n│ Error: no such module\n╵\n"},
		"plan":  {Exit: 1, Stdout: "only on standard output"},
		"show":  {Exit: 1, Stdout: "{", Stderr: "cannot open plan"},
		"apply": {Exit: 3, Stdout: "creating…\n", Stderr: "Error: quota\n"},
	})
	root, dir := rootOf(t, fake, 0)
	for name, c := range map[string]struct {
		err  error
		want string
	}{
		"init":  {root.Init(t.Context(), nil, ""), "Error: no such module"},
		"plan":  {root.Plan(t.Context(), terraform.PlanOptions{Out: "x"}), "only on standard output"},
		"show":  {root.Show(t.Context(), "x", decode), "cannot open plan"},
		"apply": {root.Apply(t.Context(), "x", 0, filepath.Join(dir, "log")), "creating…\nError: quota"},
	} {
		var exit *terraform.Error
		if !errors.As(c.err, &exit) {
			t.Fatalf("%s: %v", name, c.err)
		}
		if strings.Trim(exit.Output, "\n") != c.want || exit.Command != name || exit.Code < 1 {
			t.Errorf("%s: %+v", name, exit)
		}
	}
}

func decode(r io.Reader) error {
	var value any
	return json.NewDecoder(r).Decode(&value)
}

func TestMissingBinaryIsAnError(t *testing.T) {
	t.Parallel()
	var exit *terraform.Error
	err := terraform.Tool{Path: "/nonexistent/terraform"}.Root(t.TempDir(), "data").Init(t.Context(), nil, "")
	if !errors.As(err, &exit) || exit.Code != -1 || !strings.Contains(exit.Output, "no such file") {
		t.Errorf("got %v", err)
	}
}

// Not parallel: it looks at the memory of the whole process.
//
//nolint:paralleltest // see above
func TestFloodOfOutputIsNotHeldInMemory(t *testing.T) {
	const flood = 200 << 20
	fake := terraformtest.New(t, map[string]terraformtest.Act{
		"plan":  {Stdout: "the beginning ", Flood: flood, Exit: 1},
		"apply": {Stdout: "the beginning ", Flood: flood, Exit: 1},
	})
	root, dir := rootOf(t, fake, 0)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	planErr := root.Plan(t.Context(), terraform.PlanOptions{Out: "x"})
	applyErr := root.Apply(t.Context(), "x", 0, filepath.Join(dir, "log"))
	runtime.ReadMemStats(&after)
	if used := after.TotalAlloc - before.TotalAlloc; used > 20<<20 {
		t.Errorf("%d bytes were allocated", used)
	}
	for _, err := range []error{planErr, applyErr} {
		var exit *terraform.Error
		if !errors.As(err, &exit) || len(exit.Output) > 100<<10 || !strings.Contains(exit.Output, "bytes left out") {
			t.Errorf("got %d bytes", len(exit.Output))
		}
	}
}

func TestStopIsGentleFirst(t *testing.T) {
	t.Parallel()
	fake := terraformtest.New(t, map[string]terraformtest.Act{"plan": {Hang: true, OnStop: "lock released"}})
	root, _ := rootOf(t, fake, time.Hour)
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() {
		defer cancel(errStop) // also when it was not called in time
		fake.Await(t, "plan")
	}()
	var exit *terraform.Error
	err := root.Plan(ctx, terraform.PlanOptions{Out: "x"})
	if !errors.As(err, &exit) || !errors.Is(err, errStop) || exit.Output != "lock released" || exit.Code != 1 {
		t.Errorf("got %#v", exit)
	}
}

func TestDeafTerraformIsKilledAfterTheGrace(t *testing.T) {
	t.Parallel()
	fake := terraformtest.New(t, map[string]terraformtest.Act{"plan": {Hang: true, Deaf: true, OnStop: "I heard you"}})
	root, _ := rootOf(t, fake, 5*time.Second) // long enough for it to say that it has heard, however busy the machine is
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() {
		defer cancel(errStop) // also when it was not called in time
		fake.Await(t, "plan")
	}()
	var exit *terraform.Error
	err := root.Plan(ctx, terraform.PlanOptions{Out: "x"})
	if !errors.As(err, &exit) || exit.Stopped == nil || exit.Code != -1 || exit.Output != "I heard you" {
		t.Errorf("got %#v", exit)
	}
}

func TestWhatTerraformLeavesBehindIsEnded(t *testing.T) {
	t.Parallel()
	fake := terraformtest.New(t, map[string]terraformtest.Act{"plan": {Child: true}})
	root, _ := rootOf(t, fake, 0)
	if err := root.Plan(t.Context(), terraform.PlanOptions{Out: filepath.Join(t.TempDir(), "x")}); err != nil {
		t.Fatal(err)
	}
	group := fake.Calls(t)[0].PID
	if !terraformtest.Eventually(func() bool { return errors.Is(syscall.Kill(-group, 0), syscall.ESRCH) }) {
		t.Error("its group is still alive")
	}
}

func TestNothingStartsOnceStopped(t *testing.T) {
	t.Parallel()
	fake := terraformtest.New(t, nil)
	root, _ := rootOf(t, fake, 0)
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errStop)
	if err := root.Init(ctx, nil, ""); !errors.Is(err, errStop) {
		t.Errorf("got %v", err)
	}
	if calls := fake.Calls(t); len(calls) != 0 {
		t.Errorf("got %v", calls)
	}
}

func TestShow(t *testing.T) {
	t.Parallel()
	t.Run("an error of the reader ends Terraform and is told", func(t *testing.T) {
		t.Parallel()
		fake := terraformtest.New(t, map[string]terraformtest.Act{"show": {Stdout: "{}", Flood: 50 << 20}})
		root, _ := rootOf(t, fake, 0)
		err := root.Show(t.Context(), "x", func(io.Reader) error { return errStop })
		if !errors.Is(err, errStop) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("a fault of the reader is an error", func(t *testing.T) {
		t.Parallel()
		fake := terraformtest.New(t, nil)
		root, _ := rootOf(t, fake, 0)
		err := root.Show(t.Context(), "x", func(io.Reader) error { panic("index out of range") })
		if err == nil || !strings.Contains(err.Error(), "index out of range") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("half a document is an error", func(t *testing.T) {
		t.Parallel()
		fake := terraformtest.New(t, map[string]terraformtest.Act{"show": {Stdout: `{"a":`}})
		root, _ := rootOf(t, fake, 0)
		if err := root.Show(t.Context(), "x", decode); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("got %v", err)
		}
	})
}

func TestVersion(t *testing.T) {
	t.Parallel()
	t.Run("it is asked for with one process, in an empty directory, without the environment of this program", func(t *testing.T) {
		t.Parallel()
		fake := terraformtest.New(t, nil)
		for _, env := range [][]string{nil, {"PATH=/bin", "HOME=/w", "TF_INPUT=0", "TF_IN_AUTOMATION=1", "TF_VAR_x=y", "ARM_USE_OIDC=true"}} {
			version, err := terraform.Tool{Path: fake.Path, Env: env}.Version(t.Context())
			if err != nil || version != "1.11.4" {
				t.Errorf("got %q, %v", version, err)
			}
		}
		ours := []string{"CHECKPOINT_DISABLE", "TF_APPEND_USER_AGENT", "TF_IN_AUTOMATION", "TF_LOG", "TF_LOG_CORE", "TF_LOG_PATH", "TF_LOG_PROVIDER"}
		want := [][]string{ours, append([]string{"ARM_USE_OIDC", "HOME", "PATH"}, ours...)}
		var got [][]string
		for _, call := range fake.Calls(t) {
			var names []string
			for _, variable := range call.Env {
				name, _, _ := strings.Cut(variable, "=")
				names = append(names, name)
			}
			slices.Sort(names)
			got = append(got, names)
			if diff := cmp.Diff([]string{"version", "-json"}, call.Args); diff != "" {
				t.Error(diff)
			}
			if terraformtest.Exists(call.Dir) {
				t.Errorf("%s is left", call.Dir)
			}
		}
		slices.Sort(want[1])
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("a binary that fails says why", func(t *testing.T) {
		t.Parallel()
		fake := terraformtest.New(t, map[string]terraformtest.Act{"version": {Stderr: "no such licence", Exit: 1}})
		if _, err := (terraform.Tool{Path: fake.Path}).Version(t.Context()); err == nil || !strings.Contains(err.Error(), "no such licence") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("a binary that hangs is stopped", func(t *testing.T) {
		t.Parallel()
		fake := terraformtest.New(t, map[string]terraformtest.Act{"version": {Hang: true}})
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			defer cancel() // also when it was not called in time
			fake.Await(t, "version")
		}()
		if _, err := (terraform.Tool{Path: fake.Path}).Version(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	})
}

func TestParseLock(t *testing.T) {
	t.Parallel()
	const words = "Error: Error acquiring the state lock\n\nError message: resource temporarily unavailable\nLock Info:\n"
	for name, c := range map[string]struct {
		output string
		want   *operation.LockInfo
	}{
		"a lock with its holder": {
			words + "  ID:        ea30e008-945c-b5fa-058a-2c29d033c701\n  Path:      tfstate/network-dev\n  Operation: OperationTypeApply\n" +
				"  Who:       ana@laptop\n  Version:   1.11.4\n  Created:   2026-11-21 11:43:18.38 +0000 UTC\n  Info:      \n\n\nTerraform acquires",
			&operation.LockInfo{
				ID: "ea30e008-945c-b5fa-058a-2c29d033c701", Path: "tfstate/network-dev", Operation: "OperationTypeApply",
				Who: "ana@laptop", Version: "1.11.4", Created: "2026-11-21 11:43:18.38 +0000 UTC",
			},
		},
		"a lock in a frame": {
			terraform.Clean("╷\n│ Error: Error acquiring the state lock\n│ \n│ Lock Info:\n│   ID:        1\n│   Who:       a: b\n╵"),
			&operation.LockInfo{ID: "1", Who: "a: b"},
		},
		"a lock without a holder": {"Error: Error acquiring the state lock\n\nlease without metadata", &operation.LockInfo{}},
		"a lock that init meets, which writes the first state": {
			"Error: Error loading state: failed to lock azure state: state blob is already locked\nLock Info:\n  ID:        1\n  Who:       ana\n",
			&operation.LockInfo{ID: "1", Who: "ana"},
		},
		"one without a description": {
			"Error: Error loading state: failed to lock azure state: state blob is already locked\nblob metadata \"terraformlockid\" was empty",
			&operation.LockInfo{},
		},
		"a lock of the http backend, of which Terraform shows its own": {
			"Error: Error acquiring the state lock\n\nError message: HTTP remote state already locked:\nID=5bceefff\nLock Info:\n  ID:        8cec566e\n" +
				"  Operation: OperationTypePlan\n  Who:       me\n", &operation.LockInfo{ID: "5bceefff"},
		},
		"one of which it says nothing": {
			"Error: Error acquiring the state lock\n\nError message: HTTP remote state already locked: ID=\nLock Info:\n  ID:        8cec566e\n",
			&operation.LockInfo{},
		},
		"another error":    {"Error: Unsupported argument", nil},
		"an endless field": {words + "  ID: " + strings.Repeat("é", 400), &operation.LockInfo{ID: strings.Repeat("é", 256)}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(c.want, terraform.ParseLock(c.output)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestClean(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ in, want string }{
		"colours":                  {"\x1b[1m\x1b[31mError:\x1b[0m no", "Error: no"},
		"a terminal title":         {"a\x1b]0;pwned\x07b", "ab"},
		"control characters":       {"a\x00b\rc\x7fd\te", "abcd\te"},
		"text that runs backwards": {"abc\u202egpj.exe", "abcgpj.exe"},
		"bytes that are no text":   {"a\xff\xfeb", "a�b"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := terraform.Clean(c.in); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestEnviron(t *testing.T) {
	t.Parallel()
	base := terraform.Environment{Path: "/bin", Home: "/w/home", Temp: "/tmp/x", ConfigFile: "/w/rc"}
	t.Run("it has only what is needed and what is allowed", func(t *testing.T) {
		t.Parallel()
		e := base
		e.Extra = map[string]string{"ARM_USE_OIDC": "true", "PATH": "/usr/bin"}
		got, err := terraform.Environ(e)
		if err != nil {
			t.Fatal(err)
		}
		want := []string{
			"ARM_USE_OIDC=true", "CHECKPOINT_DISABLE=1", "HOME=/w/home", "PATH=/usr/bin", "TF_CLI_CONFIG_FILE=/w/rc",
			"TF_INPUT=0", "TF_IN_AUTOMATION=1", "TMPDIR=/tmp/x",
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	})
	for _, name := range []string{"TF_CLI_ARGS", "TF_CLI_ARGS_apply", "TF_WORKSPACE", "TF_DATA_DIR", "HOME", "TF_LOG", "", "A=B", "A\x00"} {
		t.Run("it refuses "+name, func(t *testing.T) {
			t.Parallel()
			e := base
			e.Extra = map[string]string{name: "x"}
			if _, err := terraform.Environ(e); err == nil {
				t.Error("it was accepted")
			}
		})
	}
}

func TestFind(t *testing.T) {
	t.Parallel()
	if path, err := terraform.Find(t.Context(), terraform.Want{}); err != nil || !filepath.IsAbs(path) {
		t.Errorf("terraform on PATH: %q, %v", path, err)
	}
	for name, c := range map[string]struct {
		want terraform.Want
		says string
	}{
		"a version that is not there":  {terraform.Want{Version: "0.0.1"}, "terraform 0.0.1 is not on PATH"},
		"a constraint":                 {terraform.Want{Version: "~> 1.0"}, "not an exact version"},
		"another program":              {terraform.Want{Binary: "sh"}, "neither terraform nor tofu"},
		"OpenTofu that is not there":   {terraform.Want{Binary: "tofu", Version: "1.0.0", InstallDir: t.TempDir()}, "tofu 1.0.0 is not on PATH"},
		"no network within a deadline": {terraform.Want{Version: "0.0.1", InstallDir: t.TempDir()}, "could not be downloaded"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithCancel(t.Context())
			cancel() // as if the deadline had passed: tests do not download
			_, err := terraform.Find(ctx, c.want)
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestOnlyInitHasWhatFetchesModules(t *testing.T) {
	t.Parallel()
	fake := terraformtest.New(t, map[string]terraformtest.Act{})
	tool := terraform.Tool{Path: fake.Path, Env: []string{"PATH=" + os.Getenv("PATH")}, InitEnv: []string{"GIT_CONFIG_COUNT=1"}}
	root := tool.Root(t.TempDir(), "../data")
	for _, err := range []error{
		root.Init(t.Context(), nil, ""), root.Init(t.Context(), nil, "/cache"), root.Plan(t.Context(), terraform.PlanOptions{Out: "p"}),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for i, want := range []bool{true, true, false} {
		call := fake.Calls(t)[i]
		if got := slices.Contains(call.Env, "GIT_CONFIG_COUNT=1"); got != want {
			t.Errorf("%v has it: %v", call.Args, got)
		}
	}
}
