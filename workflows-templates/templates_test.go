package templates_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/sandbox/workflow"
	templates "github.com/switchyard-dev/switchyard/workflows-templates"
)

// action is what matters here of an action's metadata file.
// https://docs.github.com/en/actions/reference/workflows-and-actions/metadata-syntax
type action struct {
	Inputs  map[string]struct{ Description, Default string }
	Outputs map[string]struct{ Description, Value string }
	Runs    struct {
		Using, Image string
		Args         []string
		Steps        []step
	}
}

type step struct {
	Name, ID, Uses, Run string
	With, Env           map[string]string
}

// file is what matters here of a workflow beside what package workflow reads.
type file struct {
	On   yaml.Node
	Jobs map[string]struct {
		Steps []step
		Env   map[string]string
	}
}

func read(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func parse[T any](t *testing.T, data []byte) T {
	t.Helper()
	var parsed T
	if err := yaml.Unmarshal(data, &parsed); err != nil {
		t.Fatal(err)
	}
	return parsed
}

func parseWorkflow(t *testing.T, data []byte) *workflow.Workflow {
	t.Helper()
	parsed, err := workflow.Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

// workflows are the templates and our own workflows, by path from here.
func workflows(t *testing.T) map[string][]byte {
	t.Helper()
	found := map[string][]byte{}
	for _, pattern := range []string{"*.yml", "../.github/workflows/*.yml"} {
		names, err := filepath.Glob(pattern)
		if err != nil || len(names) == 0 {
			t.Fatalf("no %s: %v", pattern, err)
		}
		for _, name := range names {
			found[name] = read(t, name)
		}
	}
	return found
}

var update = flag.Bool("update", false, "write run.yml and the tables of docs/actions.md")

// TestThePageHasEachInput holds the tables of the page to action.yml.
func TestThePageHasEachInput(t *testing.T) {
	t.Parallel()
	const name = "../docs/actions.md"
	composite, page := parse[action](t, read(t, "../action.yml")), string(read(t, name))
	cell := strings.NewReplacer("|", "\\|", "\n", " ")
	var inputs, outputs strings.Builder
	inputs.WriteString("| input | default | |\n| --- | --- | --- |\n")
	for _, input := range inOrder(t, "inputs") {
		value := composite.Inputs[input].Default
		if value != "" {
			value = "`" + value + "`"
		}
		fmt.Fprintf(&inputs, "| `%s` | %s | %s |\n", input, value, cell.Replace(composite.Inputs[input].Description))
	}
	outputs.WriteString("| output | |\n| --- | --- |\n")
	for _, output := range inOrder(t, "outputs") {
		fmt.Fprintf(&outputs, "| `%s` | %s |\n", output, cell.Replace(composite.Outputs[output].Description))
	}
	want := page
	for what, table := range map[string]string{"inputs": inputs.String(), "outputs": outputs.String()} {
		part := regexp.MustCompile(`(?s)(<!-- from action.yml: ` + what + ` -->\n).*?(<!-- end of ` + what + ` -->)`)
		if !part.MatchString(want) {
			t.Fatalf("%s has no table of %s", name, what)
		}
		want = part.ReplaceAllStringFunc(want, func(old string) string {
			match := part.FindStringSubmatch(old)
			return match[1] + table + match[2]
		})
	}
	if *update {
		if err := os.WriteFile(name, []byte(want), 0o644); err != nil { //nolint:gosec // a page
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(want, page); diff != "" {
		t.Errorf("%s does not say what action.yml says; run with -update (-want +got):\n%s", name, diff)
	}
}

// inOrder are the keys of a mapping of action.yml, as they stand there.
func inOrder(t *testing.T, key string) []string {
	t.Helper()
	file := parse[map[string]yaml.Node](t, read(t, "../action.yml"))
	var names []string
	for i, node := range file[key].Content {
		if i%2 == 0 {
			names = append(names, node.Value)
		}
	}
	return names
}

func TestBothActionsTakeTheSame(t *testing.T) {
	t.Parallel()
	composite, container := parse[action](t, read(t, "../action.yml")), parse[action](t, read(t, "../container/action.yml"))
	type input struct{ name, value string }
	inputs := func(a action) []input {
		var all []input
		for _, name := range slices.Sorted(maps.Keys(a.Inputs)) {
			all = append(all, input{name, a.Inputs[name].Default})
			if a.Inputs[name].Description == "" {
				t.Errorf("input %s has no description", name)
			}
		}
		return all
	}
	if diff := cmp.Diff(inputs(composite), inputs(container), cmp.AllowUnexported(input{})); diff != "" {
		t.Errorf("inputs of the composite (-) and of the container action (+):\n%s", diff)
	}
	if diff := cmp.Diff(slices.Sorted(maps.Keys(composite.Outputs)), slices.Sorted(maps.Keys(container.Outputs))); diff != "" {
		t.Errorf("outputs of the composite (-) and of the container action (+):\n%s", diff)
	}
	for _, step := range composite.Runs.Steps {
		if step.Uses != "" { // which one works, differs between GitHub and GitHub Enterprise Server, and nobody could change it
			t.Errorf("the composite action uses %s: leave that to the workflow", step.Uses)
		}
	}
	for name, output := range composite.Outputs {
		if want := "${{ steps.run.outputs." + name + " }}"; output.Value != want {
			t.Errorf("output %s is %s, not %s", name, output.Value, want)
		}
	}
}

func TestTheCompositeActionHandsEachInputOn(t *testing.T) {
	t.Parallel()
	composite := parse[action](t, read(t, "../action.yml"))
	i := slices.IndexFunc(composite.Runs.Steps, func(s step) bool { return s.ID == "run" })
	if i < 0 {
		t.Fatal("no step has the id run")
	}
	want := map[string]string{
		"SWITCHYARD": "${{ steps.fetch.outputs.binary }}", "MSYS2_ENV_CONV_EXCL": "ARM_;BACKEND_;INPUT_;TF_TOKEN_;TF_VAR_",
	}
	for name := range composite.Inputs {
		if name != "binary" { // of the step before
			want["INPUT_"+strings.ToUpper(strings.ReplaceAll(name, "-", "_"))] = "${{ inputs." + name + " }}"
		}
	}
	if diff := cmp.Diff(want, composite.Runs.Steps[i].Env); diff != "" {
		t.Errorf("the environment of the step (-want +got):\n%s", diff)
	}
}

// readsInput finds names of inputs in the code of the action: constants, arguments, and the tables of identities and backends.
var readsInput = regexp.MustCompile(`(?:\binput[A-Z]\w*\s*=\s*|\.input\()"([a-z_-]+)"|"([a-z]+-[a-z-]+)",? ?:? "(?:ARM|BACKEND)_`)

func TestWhatTheActionReadsIsAnInput(t *testing.T) {
	t.Parallel()
	inputs := parse[action](t, read(t, "../action.yml")).Inputs
	sources, err := filepath.Glob("../job/*.go")
	if err != nil {
		t.Fatal(err)
	}
	// The workflow itself needs the other two, before the action begins.
	known := []string{
		operation.InputCommand, operation.InputEnvironment, operation.InputProtection, operation.InputOperation, operation.InputLaunch,
		operation.InputSHA, operation.InputDigest, operation.InputTask,
	}
	for _, name := range sources {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		for _, match := range readsInput.FindAllStringSubmatch(string(read(t, name)), -1) {
			known = append(known, match[1]+match[2])
		}
	}
	const least = 18 // or the expression finds nothing any more
	if len(known) < least {
		t.Fatalf("only %d inputs were found in the code: %s", len(known), known)
	}
	for _, name := range known {
		if _, ok := inputs[name]; !ok {
			t.Errorf("the code reads the input %q, which action.yml does not have", name)
		}
	}
}

func TestTemplatesGiveTheActionWhatItTakes(t *testing.T) {
	t.Parallel()
	container := parse[action](t, read(t, "../container/action.yml"))
	output := regexp.MustCompile(`steps\.switchyard\.outputs\.([a-z-]+)`)
	for name, data := range workflows(t) {
		for id, job := range parse[file](t, data).Jobs {
			for _, step := range job.Steps {
				if !strings.HasPrefix(step.Uses, "switchyard-dev/switchyard/container@") {
					continue
				}
				for input := range step.With {
					if _, ok := container.Inputs[input]; !ok {
						t.Errorf("%s: job %s gives the input %q, which the action does not have", name, id, input)
					}
				}
			}
		}
		for _, match := range output.FindAllSubmatch(data, -1) {
			if _, ok := container.Outputs[string(match[1])]; !ok {
				t.Errorf("%s uses the output %q, which the action does not have", name, match[1])
			}
		}
	}
}

func TestTheServerFindsWhatItDispatches(t *testing.T) {
	t.Parallel()
	want := []string{
		operation.InputCommand, operation.InputEnvironment, operation.InputProtection, operation.InputOperation, operation.InputLaunch,
		operation.InputSHA, operation.InputDigest, operation.InputRunsOn, operation.InputShards, operation.InputTask,
	}
	task := operation.Task{Kind: operation.Apply, Environment: "prod", Operation: 41, Attempt: 2, Launch: "0123456789abcdef"}
	for _, name := range []string{"switchyard.yml", "switchyard-short.yml"} {
		parsed := parseWorkflow(t, read(t, name))
		var got []string
		for _, input := range parsed.On["workflow_dispatch"].Inputs {
			got = append(got, input.Name)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: inputs (-want +got):\n%s", name, diff)
		}
		title, err := workflow.Interpolate(parsed.RunName, workflow.Values{Contexts: map[string]any{"inputs": map[string]any{
			operation.InputCommand: string(task.Kind), operation.InputEnvironment: task.Environment,
			operation.InputOperation: operation.InputOperationOf(task), operation.InputLaunch: operation.InputLaunchOf(task),
		}}})
		if err != nil || title != operation.RunName(task) {
			t.Errorf("%s: a run is called %q (%v); the server looks for %q", name, title, err, operation.RunName(task))
		}
	}
}

func TestTheShortTemplateCallsTheSameJobs(t *testing.T) {
	t.Parallel()
	long, called, short := read(t, "switchyard.yml"), read(t, "../.github/workflows/run.yml"), read(t, "switchyard-short.yml")
	jobs := func(data []byte) string {
		_, after, found := strings.Cut(string(data), "\njobs:\n")
		if !found {
			t.Fatal("no jobs")
		}
		return after
	}
	want := regexp.MustCompile(`\binputs\.([a-z_]+)`).ReplaceAllString(jobs(long), "fromJSON(inputs.dispatch).$1")
	if *update {
		text := strings.TrimSuffix(string(called), jobs(called)) + want
		if err := os.WriteFile("../.github/workflows/run.yml", []byte(text), 0o644); err != nil { //nolint:gosec // a workflow
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(want, jobs(called)); diff != "" {
		t.Errorf("jobs of switchyard.yml (-) and of run.yml (+); run with -update:\n%s", diff)
	}

	most := workflow.Permissions{}
	for _, job := range parseWorkflow(t, long).Jobs {
		for name, access := range job.Permissions {
			if most[name] != "write" {
				most[name] = access
			}
		}
	}
	caller := parseWorkflow(t, short)
	if diff := cmp.Diff(most, caller.Jobs[0].Permissions); diff != "" {
		t.Errorf("what the jobs need (-) and what the short template hands on (+):\n%s", diff)
	}
	with, err := workflow.Interpolate(caller.Jobs[0].With["dispatch"].(string), workflow.Values{Contexts: map[string]any{
		"inputs": map[string]any{"command": "plan"},
	}})
	if err != nil || !strings.Contains(workflow.Text(with), `"command": "plan"`) {
		t.Errorf("the short template hands on %v (%v)", with, err)
	}
}

// TestPermissions is a list of all that a job may do: whoever adds to it says why in the workflow.
func TestPermissions(t *testing.T) {
	t.Parallel()
	plan := workflow.Permissions{"actions": "read", "contents": "read", "id-token": "write", "pull-requests": "read"}
	apply := workflow.Permissions{
		"actions": "read", "contents": "read", "deployments": "read", "id-token": "write", "issues": "read", "pull-requests": "read",
	}
	want := map[string]map[string]workflow.Permissions{
		"switchyard.yml":               {"plan": plan, "apply": apply},
		"../.github/workflows/run.yml": {"plan": plan, "apply": apply},
		"switchyard-short.yml":         {"run": apply},
		"../.github/workflows/ci.yml":  {"check": {"contents": "read"}, "platforms": {"contents": "read"}},
		"../.github/workflows/release.yml": {
			"build":   {"contents": "read"},
			"image":   {"contents": "read", "packages": "write", "id-token": "write", "attestations": "write"},
			"publish": {"contents": "write", "id-token": "write", "attestations": "write"},
			"verify":  {"contents": "read", "packages": "read"},
		},
		"switchyard-break-lease.yml": {
			"show": {"contents": "read", "id-token": "write"}, "break": {"actions": "read", "contents": "read", "id-token": "write"},
		},
		"switchyard-alone.yml": {
			"where": nil,
			"plan": {
				"actions": "read", "checks": "write", "contents": "read", "deployments": "read", "id-token": "write", "pull-requests": "write",
			},
			"apply": {
				"actions": "read", "checks": "write", "contents": "read", "deployments": "read", "id-token": "write", "issues": "read",
				"pull-requests": "write",
			},
			"answer": {
				"actions": "write", "checks": "read", "contents": "read", "deployments": "read", "issues": "write", "pull-requests": "write",
			},
		},
	}
	for name, data := range workflows(t) {
		parsed := parseWorkflow(t, data)
		if parsed.Permissions == nil || len(parsed.Permissions) != 0 {
			t.Errorf("%s: the workflow's own permissions are %v, not {}", name, parsed.Permissions)
		}
		got := map[string]workflow.Permissions{}
		for _, job := range parsed.Jobs {
			got[job.ID] = job.Permissions
		}
		if diff := cmp.Diff(want[name], got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestNoWorkflowTrustsStrangers(t *testing.T) {
	t.Parallel()
	for name, data := range workflows(t) {
		if _, ok := parseWorkflow(t, data).On["pull_request_target"]; ok {
			t.Errorf("%s runs what strangers propose with write access: pull_request_target", name)
		}
		for id, job := range parse[file](t, data).Jobs {
			for _, step := range job.Steps {
				if strings.Contains(step.Run, "${{") {
					t.Errorf("%s: job %s pastes an expression into a script; hand it over by env: %s", name, id, step.Run)
				}
				if strings.HasPrefix(step.Uses, "actions/cache") {
					t.Errorf("%s: job %s restores or writes a cache", name, id)
				}
			}
		}
	}
	for _, name := range []string{"../action.yml", "../container/action.yml"} {
		for _, step := range parse[action](t, read(t, name)).Runs.Steps {
			if strings.Contains(step.Run, "${{") {
				t.Errorf("%s pastes an expression into a script: %s", name, step.Run)
			}
		}
	}
}

// pinned is a `uses` at a commit, with its version for readers; ours is one of a release, which release wrote.
var (
	uses   = regexp.MustCompile(`(?m)^[\s-]*uses: *(\S+)(.*)$`)
	pinned = regexp.MustCompile(`^[\w.-]+/[\w./-]+@[0-9a-f]{40} # v\d+(\.\d+){0,2}( |$)`)
	ours   = regexp.MustCompile(`^switchyard-dev/switchyard(/[\w./-]+)?@(RELEASE |RELEASE$|v\d+\.\d+\.\d+( |$)|[0-9a-f]{40} # v\d+\.\d+\.\d+( |;|$))`)
)

func TestEverythingThatIsUsedIsPinned(t *testing.T) {
	t.Parallel()
	all := workflows(t)
	for _, name := range []string{"../action.yml", "../container/action.yml"} {
		all[name] = read(t, name)
	}
	versions := map[string]string{}
	for name, data := range all {
		for _, match := range uses.FindAllStringSubmatch(string(data), -1) {
			line := match[1] + match[2]
			switch {
			case strings.HasPrefix(match[1], "./"), ours.MatchString(line):
			case !pinned.MatchString(line):
				t.Errorf("%s: %q is not pinned to a commit, with its version behind it", name, line)
			default:
				what, version, _ := strings.Cut(line, "@")
				if known := versions[what]; known != "" && known != version {
					t.Errorf("%s: %s is used at %s and at %s", name, what, known, version)
				}
				versions[what] = version
			}
		}
	}
	digest := regexp.MustCompile(`^docker://ghcr\.io/switchyard-dev/switchyard-action@sha256:[0-9a-f]{64}$`)
	if image := parse[action](t, read(t, "../container/action.yml")).Runs.Image; !digest.MatchString(image) {
		t.Errorf("container/action.yml takes the image %q, which is not pinned by its digest", image)
	}
}

// TestTheFormForGitHubEnterpriseServer has the page's own commands change the templates, and looks that nothing is left which such a server
// does not know, nothing else is changed, and each place says so.
func TestTheFormForGitHubEnterpriseServer(t *testing.T) {
	t.Parallel()
	page := string(read(t, "../docs/executor-actions.md"))
	_, section, _ := strings.Cut(page, "\n## GitHub Enterprise Server\n")
	_, script, _ := strings.Cut(section, "```sh\n")
	script, _, found := strings.Cut(script, "```")
	if !found {
		t.Fatal("the page has no commands for GitHub Enterprise Server")
	}
	dir := t.TempDir()
	at := filepath.Join(dir, ".github", "workflows")
	if err := os.MkdirAll(at, 0o750); err != nil {
		t.Fatal(err)
	}
	names := []string{"switchyard.yml", "switchyard-alone.yml", "switchyard-break-lease.yml"}
	for _, name := range names {
		if err := os.WriteFile(filepath.Join(at, name), read(t, name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	run := exec.CommandContext(t.Context(), "bash", "-e", "-c", script)
	run.Dir = dir
	if out, err := run.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if left, err := os.ReadDir(at); err != nil || len(left) != len(names) {
		t.Errorf("it leaves %v, %v", left, err)
	}
	newer := regexp.MustCompile(`^ *(queue: max|deployment: false|uses: actions/upload-artifact@)`)
	for _, name := range names {
		changed := read(t, filepath.Join(at, name))
		for _, job := range parseWorkflow(t, changed).Jobs {
			if job.Concurrency != nil && job.Concurrency.Queue != "" || job.Environment != nil && job.Environment.Deployment != "" {
				t.Errorf("%s: job %s has a key that is not known there", name, job.ID)
			}
		}
		before, after := strings.Split(string(read(t, name)), "\n"), strings.Split(string(changed), "\n")
		for i, line := range before {
			if newer.MatchString(line) {
				if !strings.Contains(strings.Join(before[max(0, i-2):i+1], ""), "GitHub Enterprise Server") {
					t.Errorf("%s: nothing at the line says that GitHub Enterprise Server does not take it: %s", name, line)
				}
				continue
			}
			if !slices.Contains(after, line) {
				t.Errorf("%s: this line is changed, too: %s", name, line)
			}
		}
		for _, match := range uses.FindAllStringSubmatch(string(changed), -1) {
			if strings.HasPrefix(match[1], "actions/upload-artifact@") && match[1]+match[2] !=
				"actions/upload-artifact@c24449f33cd45d4826c6702db7e49f7cdb9b551d # v3.2.1-node20" {
				t.Errorf("%s uses %s", name, match[1])
			}
		}
	}
}

func TestAppliesAreNeitherCancelledNorDropped(t *testing.T) {
	t.Parallel()
	for name, job := range map[string]string{
		"switchyard.yml": "apply", "switchyard-alone.yml": "apply", "../.github/workflows/run.yml": "apply", "switchyard-break-lease.yml": "break",
	} {
		parsed := parseWorkflow(t, read(t, name))
		apply, ok := parsed.Job(job)
		if !ok || apply.Concurrency == nil || parsed.Concurrency != nil {
			t.Fatalf("%s: the job apply, and it alone, needs a concurrency group", name)
		}
		if apply.Concurrency.CancelInProgress != "false" || apply.Concurrency.Queue != "max" ||
			!strings.HasPrefix(apply.Concurrency.Group, "switchyard-${{ ") || !strings.Contains(apply.Concurrency.Group, "environment }}") {
			t.Errorf("%s: %+v", name, *apply.Concurrency)
		}
		plan, _ := parsed.Job(map[string]string{"apply": "plan", "break": "show"}[job])
		if plan.Environment == nil || plan.Environment.Deployment != "false" {
			t.Errorf("%s: a plan must record no deployment", name)
		}
	}
}

// TestWhatRunsAlone plays events against switchyard-alone.yml: which jobs begin, and with which GitHub Environment.
func TestWhatRunsAlone(t *testing.T) {
	t.Parallel()
	parsed := parseWorkflow(t, read(t, "switchyard-alone.yml"))
	pull := func(action, base, head string) map[string]any {
		return map[string]any{
			"action":       action,
			"pull_request": map[string]any{"number": 7.0, "head": map[string]any{"repo": map[string]any{"full_name": head}}, "base": base},
		}
	}
	edited := pull("edited", "develop", "acme/shop")
	edited["changes"] = map[string]any{"title": map[string]any{"from": "old"}}
	moved := pull("edited", "main", "acme/shop")
	moved["changes"] = map[string]any{"base": map[string]any{"ref": map[string]any{"from": "develop"}}}
	comment := func(body string) map[string]any {
		return map[string]any{"action": "created", "comment": map[string]any{"body": body}, "issue": map[string]any{}}
	}
	for name, c := range map[string]struct {
		event, ref, base string
		payload          map[string]any
		inputs           map[string]any
		want             []string // JOB, or JOB ENVIRONMENT
	}{
		"a pull request into develop is planned for dev": {
			"pull_request", "refs/pull/7/merge", "develop", pull("opened", "develop", "acme/shop"), nil, []string{"where", "plan dev-plan"},
		},
		"a pull request into a branch that deploys nowhere has no identity": {
			"pull_request", "refs/pull/7/merge", "feature/x", pull("opened", "feature/x", "acme/shop"), nil, []string{"where", "plan "},
		},
		"a pull request from a fork has no identity": {
			"pull_request", "refs/pull/7/merge", "main", pull("opened", "main", "mallory/shop"), nil, []string{"where", "answer "},
		},
		"a pull request from a fork that is gone has no identity": {
			"pull_request", "refs/pull/7/merge", "main", map[string]any{
				"action": "opened", "pull_request": map[string]any{"number": 7.0, "head": map[string]any{"repo": nil}},
			}, nil, []string{"where", "answer "},
		},
		"a new title is no new plan": {"pull_request", "refs/pull/7/merge", "develop", edited, nil, nil},
		"a new base is":              {"pull_request", "refs/pull/7/merge", "main", moved, nil, []string{"where", "plan prod-plan"}},
		"a merge group is planned": {
			"merge_group", "refs/heads/gh-readonly-queue/main/pr-7-0", "", map[string]any{
				"action": "checks_requested", "merge_group": map[string]any{"base_ref": "refs/heads/main"},
			}, nil, []string{"where", "plan prod-plan"},
		},
		"a push to develop is applied to dev": {
			"push", "refs/heads/develop", "", map[string]any{}, nil, []string{"where", "apply dev"},
		},
		"a push to a release is applied to test": {
			"push", "refs/heads/release/1.0", "", map[string]any{}, nil, []string{"where", "apply test"},
		},
		"a comment starts nothing":  {"issue_comment", "refs/heads/main", "", comment("looks good /apply prod"), nil, nil},
		"a command has no identity": {"issue_comment", "refs/heads/main", "", comment("/apply prod"), nil, []string{"answer "}},
		"an apply by hand has the environment of its branch, whatever it says": {
			"workflow_dispatch", "refs/heads/develop", "",
			map[string]any{},
			map[string]any{"command": "apply", "environment": "prod"},
			[]string{"where", "apply dev"},
		},
		"an apply by hand on a feature branch applies nothing": {
			"workflow_dispatch", "refs/heads/feature/x", "",
			map[string]any{},
			map[string]any{"command": "apply", "environment": "prod"},
			[]string{"where"},
		},
		"a plan by hand has the plan's identity": {
			"workflow_dispatch", "refs/heads/feature/x", "",
			map[string]any{},
			map[string]any{"command": "plan", "environment": "prod"},
			[]string{"where", "plan prod-plan"},
		},
		"a plan by hand of an environment that is none has no identity": {
			"workflow_dispatch", "refs/heads/feature/x", "",
			map[string]any{},
			map[string]any{"command": "plan", "environment": "prod\nx"},
			[]string{"where", "plan "},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			values := workflow.Values{Contexts: map[string]any{
				"github": map[string]any{
					"event_name": c.event, "ref": c.ref, "base_ref": c.base, "repository": "acme/shop", "event": c.payload, "run_id": "9",
				},
				"inputs": c.inputs, "needs": map[string]any{},
			}}
			if c.inputs == nil {
				values.Contexts["inputs"] = map[string]any{}
			}
			if !parsed.Starts(workflow.Event{Name: c.event, Action: workflow.Text(c.payload["action"]), Branch: branchOf(c.event, c.ref)}) {
				t.Fatal("the event does not start the workflow")
			}
			if diff := cmp.Diff(c.want, begun(t, parsed, values)); diff != "" {
				t.Errorf("jobs (-want +got):\n%s", diff)
			}
		})
	}
}

func branchOf(event, ref string) string {
	if event != "push" {
		return ""
	}
	return strings.TrimPrefix(ref, "refs/heads/")
}

// begun are the jobs that begin, each but the first with its GitHub Environment.
func begun(t *testing.T, parsed *workflow.Workflow, values workflow.Values) []string {
	t.Helper()
	var jobs []string
	where := false
	for _, job := range parsed.Jobs {
		values.Status = workflow.Status{Skipped: slices.Contains(job.Needs, "where") && !where}
		begins, err := workflow.Condition(job.If, values)
		if err != nil {
			t.Fatal(err)
		}
		if !begins {
			continue
		}
		if job.ID == "where" {
			where = true
			jobs = append(jobs, "where")
			values.Contexts["needs"] = map[string]any{"where": map[string]any{"outputs": map[string]any{"environment": environment(t, values)}}}
			continue
		}
		name := ""
		if job.Environment != nil {
			value, err := workflow.Interpolate(job.Environment.Name, values)
			if err != nil {
				t.Fatal(err)
			}
			name = workflow.Text(value)
		}
		jobs = append(jobs, job.ID+" "+name)
	}
	return jobs
}

// environment runs the script of the job where, as GitHub's runner would.
func environment(t *testing.T, values workflow.Values) string {
	t.Helper()
	script := parse[file](t, read(t, "switchyard-alone.yml")).Jobs["where"].Steps[0]
	output := filepath.Join(t.TempDir(), "output")
	run := exec.CommandContext(t.Context(), "bash", "-e", "-c", script.Run)
	run.Env = []string{"GITHUB_OUTPUT=" + output}
	for name, text := range script.Env {
		value, err := workflow.Interpolate(text, values)
		if err != nil {
			t.Fatal(err)
		}
		run.Env = append(run.Env, name+"="+workflow.Text(value))
	}
	if out, err := run.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	name, found := strings.CutPrefix(strings.TrimSuffix(string(read(t, output)), "\n"), "environment=")
	if !found || strings.Contains(name, "\n") {
		t.Fatalf("the script left %q", name)
	}
	return name
}

// TestWhatWorkOnLocksBegins plays starts by hand against switchyard-break-lease.yml.
func TestWhatWorkOnLocksBegins(t *testing.T) {
	t.Parallel()
	parsed := parseWorkflow(t, read(t, "switchyard-break-lease.yml"))
	const id = "ea30e008-945c-b5fa-058a-2c29d033c701"
	for name, c := range map[string]struct {
		meant, found, plans string
		want                []string // JOB ENVIRONMENT
	}{
		"without a lock id it only looks":                         {"", id, "", []string{"show "}},
		"also where there is none":                                {"", "", "", []string{"show "}},
		"with the lock that is there it breaks":                   {id, id, "", []string{"show ", "break prod"}},
		"with another one it does not":                            {id, "another", "", []string{"show "}},
		"nor where it is free by now":                             {id, "", "", []string{"show "}},
		"a lock without a description is named":                   {"none", "none", "", []string{"show ", "break prod"}},
		"looking has the identity of plans where it is there":     {"", id, "true", []string{"show prod-plan"}},
		"an identity of plans is no word that somebody else says": {"", id, "yes", []string{"show "}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			values := workflow.Values{Contexts: map[string]any{
				"github": map[string]any{"event_name": "workflow_dispatch", "ref": "refs/heads/main"},
				"inputs": map[string]any{"environment": "prod", "lock-id": c.meant},
				"vars":   map[string]any{"SWITCHYARD_PLAN_ENVIRONMENTS": c.plans},
				"needs":  map[string]any{"show": map[string]any{"outputs": map[string]any{"lock-id": c.found}}},
			}}
			if diff := cmp.Diff(c.want, begun(t, parsed, values)); diff != "" {
				t.Errorf("jobs (-want +got):\n%s", diff)
			}
		})
	}
}

// TestBranchNamesStayWords gives the script that reads a branch's name what a hostile author would call a branch.
func TestBranchNamesStayWords(t *testing.T) {
	t.Parallel()
	script := parse[file](t, read(t, "switchyard-alone.yml")).Jobs["where"].Steps[0]
	for _, branch := range []string{"main\nenvironment=prod", "$(touch made)", "`touch made`", "main;touch made", "*", "release", "-n", "mainx", "refs/heads/main"} {
		dir := t.TempDir()
		run := exec.CommandContext(t.Context(), "bash", "-e", "-c", script.Run)
		run.Dir = dir
		run.Env = []string{"GITHUB_OUTPUT=" + filepath.Join(dir, "output"), "BRANCH=refs/heads/" + branch, "ASKED=" + branch}
		if out, err := run.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		want := "environment=\n"
		if branch == "release" {
			want = "environment=test\n"
		}
		if got := string(read(t, filepath.Join(dir, "output"))); got != want {
			t.Errorf("branch %q: %q", branch, got)
		}
		if _, err := os.Stat(filepath.Join(dir, "made")); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("branch %q was run", branch)
		}
	}
}

func TestEachTemplateIsOfferedToAnOrganisation(t *testing.T) {
	t.Parallel()
	names, err := fs.Glob(templates.Files, "*.yml")
	if err != nil || len(names) < 3 {
		t.Fatalf("templates: %v, %v", names, err)
	}
	for _, name := range names {
		data, err := fs.ReadFile(templates.Files, strings.TrimSuffix(name, ".yml")+".properties.json")
		if err != nil {
			t.Errorf("%s has no properties: %v", name, err)
			continue
		}
		var properties struct {
			Name         string   `json:"name"`
			Description  string   `json:"description"`
			IconName     string   `json:"iconName"` //nolint:tagliatelle // of GitHub
			Categories   []string `json:"categories"`
			FilePatterns []string `json:"filePatterns"` //nolint:tagliatelle // of GitHub
		}
		decoder := json.NewDecoder(bytes.NewReader(data))
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(&properties); err != nil || properties.Name == "" || properties.Description == "" {
			t.Errorf("%s: properties %+v, %v", name, properties, err)
		}
		if _, err := fs.Stat(templates.Files, properties.IconName+".svg"); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for _, pattern := range properties.FilePatterns {
			if !regexp.MustCompile(pattern).MatchString(".github/switchyard.yml") {
				t.Errorf("%s: %s does not match the configuration", name, pattern)
			}
		}
	}
}

// TestJobsHaveTheVariablesOfGitHubATAT holds each job that runs Terraform to the variables that the documentation promises.
func TestJobsHaveTheVariablesOfGitHubATAT(t *testing.T) {
	t.Parallel()
	want := []string{
		"APPLICATION_NAME", "ARM_CLIENT_ID", "ARM_SUBSCRIPTION_ID", "ARM_TENANT_ID", "ARM_USE_OIDC", "BACKEND_RESOURCE_GROUP_NAME",
		"BACKEND_STORAGE_ACCOUNT_NAME", "BACKEND_STORAGE_STATE_CONTAINER_NAME",
	}
	found := 0
	for name, data := range workflows(t) {
		file := parse[struct {
			Jobs map[string]struct {
				Env map[string]string `yaml:"env"`
			} `yaml:"jobs"`
		}](t, data)
		for id, job := range file.Jobs {
			if job.Env["ARM_CLIENT_ID"] == "" {
				continue
			}
			found++
			if diff := cmp.Diff(want, slices.Sorted(maps.Keys(job.Env))); diff != "" {
				t.Errorf("job %s of %s (-want +got):\n%s", id, name, diff)
			}
		}
	}
	if found < 8 {
		t.Errorf("only %d jobs have an identity", found)
	}
}
