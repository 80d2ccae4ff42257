package workflow_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/switchyard-dev/switchyard/sandbox/workflow"
)

func values() workflow.Values {
	return workflow.Values{Contexts: map[string]any{
		"github": map[string]any{
			"ref": "refs/heads/main", "event": map[string]any{"number": 41.0, "labels": []any{map[string]any{"name": "a"}, map[string]any{"name": "b"}}},
		},
		"inputs": map[string]any{"environment": "prod", "labels": `["self-hosted","x"]`, "empty": "", "yes": true},
		"needs":  workflow.Context(map[string]workflow.Need{"plan": {Result: "success", Outputs: map[string]string{"digest": "7f3a"}}}),
	}}
}

func TestExpressions(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		text string
		want any
	}{
		"a text without an expression stays":           {"apply-prod", "apply-prod"},
		"an expression keeps its type":                 {"${{ inputs.yes }}", true},
		"within a text everything is text":             {"a-${{ inputs.yes }}-${{ github.event.number }}", "a-true-41"},
		"names of properties ignore case":              {"${{ GitHub.Event.NUMBER }}", 41.0},
		"what is not there is null":                    {"[${{ inputs.none.deeper }}]", "[]"},
		"an output of a job":                           {"${{ needs.plan.outputs.digest }}", "7f3a"},
		"or chooses a value":                           {"${{ inputs.empty || 'none' }}", "none"},
		"and, or and not, with their precedence":       {"${{ !inputs.empty && false || 1 < 2 }}", true},
		"texts are equal without case":                 {"${{ 'PROD' == inputs.environment }}", true},
		"a number equals its text":                     {"${{ github.event.number == '41' }}", true},
		"quotes and braces within a string":            {"${{ format('it''s {0} }} {{x}}', 1) }}", "it's 1 } {x}"},
		"JSON becomes a list":                          {"${{ fromJSON(inputs.labels)[1] }}", "x"},
		"a list in JSON":                               {"${{ join(github.event.labels.*.name, '+') }}", "a+b"},
		"contains in a list":                           {"${{ contains(fromJSON(inputs.labels), 'SELF-HOSTED') }}", true},
		"startsWith":                                   {"${{ startsWith(github.ref, 'refs/HEADS/') }}", true},
		"endsWith":                                     {"${{ endsWith(github.ref, 'n') }}", true},
		"toJSON":                                       {"${{ toJSON(inputs.environment) }}", `"prod"`},
		"an index by name":                             {"${{ inputs['environment'] }}", "prod"},
		"a hexadecimal number":                         {"${{ 0xff }}", 255.0},
		"a value that looks like an expression is not": {"${{ format('{0}', '${{ github.ref }}') }}", "${{ github.ref }}"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := workflow.Interpolate(test.text, values())
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestUnknownExpressionsAreErrors(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ text, want string }{
		"an unknown context":           {"${{ secrets.X }}", `the context "secrets" is not known here`},
		"an unknown function":          {"${{ hashFiles('x') }}", "the function hashfiles is not known here"},
		"a missing argument":           {"${{ contains('x') }}", "the function contains does not take 1 arguments"},
		"no end":                       {"${{ github.ref", "an expression has no end"},
		"a string without an end":      {"${{ 'x }}", "an expression has no end"},
		"nothing":                      {"${{ }}", "it ends too early"},
		"two values":                   {"${{ 1 2 }}", `"2" is not expected`},
		"JSON that is none":            {"${{ fromJSON('{') }}", "fromJSON of"},
		"an odd character":             {"${{ a # b }}", `an expression has no place for '#'`},
		"a format without an argument": {"${{ format('{1}', 1) }}", "format has no argument {1}"},
		"thousands of brackets":        {"${{ " + strings.Repeat("(", 5000) + "1" + strings.Repeat(")", 5000) + " }}", "it is nested too deep"},
		"thousands of negations":       {"${{ " + strings.Repeat("!", 5000) + "1 }}", "it is nested too deep"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := workflow.Interpolate(test.text, values()); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("want %q, got %v", test.want, err)
			}
		})
	}
}

func TestConditions(t *testing.T) {
	t.Parallel()
	failed, isCancelled := workflow.Status{Failed: true}, workflow.Status{Cancelled: true}
	tests := map[string]struct {
		text   string
		status workflow.Status
		want   bool
	}{
		"none is success":                          {"", workflow.Status{}, true},
		"none is not met after a failure":          {"", failed, false},
		"none is not met after a skipped job":      {"", workflow.Status{Skipped: true}, false},
		"always() is met even when cancelled":      {"always()", isCancelled, true},
		"failure() is met after a failure":         {"${{ failure() && inputs.yes }}", failed, true},
		"success is implied":                       {"inputs.yes", failed, false},
		"!cancelled() is met after a failure":      {"!cancelled()", failed, true},
		"a text from an expression counts as true": {"${{ inputs.environment }}", workflow.Status{}, true},
		"an empty input is false":                  {"inputs.empty", workflow.Status{}, false},
		"a result is compared":                     {"always() && needs.plan.result == 'success'", failed, true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			with := values()
			with.Status = test.status
			got, err := workflow.Condition(test.text, with)
			if err != nil || got != test.want {
				t.Errorf("want %v, got %v: %v", test.want, got, err)
			}
		})
	}
}

const job = "\njobs: { a: { runs-on: ubuntu-latest, steps: [{ run: x }] } }"

func parse(t *testing.T, text string) *workflow.Workflow {
	t.Helper()
	w, err := workflow.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func TestWhatStartsAWorkflow(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		on    string
		event workflow.Event
		want  bool
	}{
		"a push to any branch":                      {"push", workflow.Event{Name: "push", Branch: "a/b"}, true},
		"a tag is a push, too":                      {"push", workflow.Event{Name: "push", Tag: "v1"}, true},
		"a filter of branches leaves tags out":      {"{push: {branches: ['**']}}", workflow.Event{Name: "push", Tag: "v1"}, false},
		"a filter of tags leaves branches out":      {"{push: {tags: ['v*']}}", workflow.Event{Name: "push", Branch: "main"}, false},
		"a star stops at a slash":                   {"{push: {branches: ['release/*']}}", workflow.Event{Name: "push", Branch: "release/1/2"}, false},
		"two stars do not":                          {"{push: {branches: ['release/**']}}", workflow.Event{Name: "push", Branch: "release/1/2"}, true},
		"an exclamation mark takes back":            {"{push: {branches: ['**', '!main']}}", workflow.Event{Name: "push", Branch: "main"}, false},
		"an ignored branch":                         {"{push: {branches-ignore: [main]}}", workflow.Event{Name: "push", Branch: "main"}, false},
		"a changed path":                            {"{push: {paths: ['src/**']}}", workflow.Event{Name: "push", Branch: "x", Paths: []string{"src/a/b.tf"}}, true},
		"no changed path":                           {"{push: {paths: ['src/**']}}", workflow.Event{Name: "push", Branch: "x", Paths: []string{"README.md"}}, false},
		"only ignored paths":                        {"{push: {paths-ignore: ['docs/**']}}", workflow.Event{Name: "push", Branch: "x", Paths: []string{"docs/a"}}, false},
		"a pull request that was opened":            {"pull_request", workflow.Event{Name: "pull_request", Action: "opened", Branch: "main"}, true},
		"a closed one does not, unless asked for":   {"pull_request", workflow.Event{Name: "pull_request", Action: "closed", Branch: "main"}, false},
		"a closed one that is asked for":            {"{pull_request: {types: [closed]}}", workflow.Event{Name: "pull_request", Action: "closed", Branch: "main"}, true},
		"a pull request into another branch":        {"{pull_request: {branches: [main]}}", workflow.Event{Name: "pull_request", Action: "opened", Branch: "dev"}, false},
		"a comment that was edited":                 {"{issue_comment: {types: [created]}}", workflow.Event{Name: "issue_comment", Action: "edited"}, false},
		"a merge group":                             {"[merge_group]", workflow.Event{Name: "merge_group", Action: "checks_requested", Branch: "main"}, true},
		"an event that the workflow does not name":  {"[push]", workflow.Event{Name: "issue_comment", Action: "created"}, false},
		"two stars and a slash match nothing, too":  {"{push: {paths: ['**/x.tf']}}", workflow.Event{Name: "push", Branch: "x", Paths: []string{"x.tf"}}, true},
		"a comment on any branch that has a filter": {"issue_comment", workflow.Event{Name: "issue_comment", Action: "created"}, true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := parse(t, "on: "+test.on+job).Starts(test.event); got != test.want {
				t.Errorf("want %v, got %v", test.want, got)
			}
		})
	}
}

func TestWrongWorkflowsAreErrors(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ text, want string }{
		"no YAML":                       {"\t", "read the workflow"},
		"a list":                        {"[a]", "it is not a mapping"},
		"no on":                         {"name: x" + job, "it has no `on`"},
		"no jobs":                       {"on: push\njobs: {}", "it has no jobs"},
		"an unknown key":                {"on: push\nwhen: x" + job, `unknown key "when"`},
		"a need that does not exist":    {"on: push\njobs: { a: { runs-on: x, needs: b } }", "needs jobs that are not there"},
		"jobs that wait for each other": {"on: push\njobs: { a: { runs-on: x, needs: b }, b: { runs-on: x, needs: [a] } }", "wait for each other"},
		"a queue that cancels": {
			"on: push\nconcurrency: { group: a, queue: max, cancel-in-progress: true }" + job, "cannot be used together",
		},
		"an unknown queue":       {"on: push\nconcurrency: { group: a, queue: all }" + job, "queue is single or max"},
		"an unknown level":       {"on: push\npermissions: { contents: admin }" + job, "is read, write or none"},
		"a pattern that we lack": {"on: { push: { branches: ['v[0-9]'] } }" + job, "and no other pattern"},
		"no machine":             {"on: push\njobs: { a: { steps: [] } }", "has no runs-on"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := workflow.Parse([]byte(test.text)); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("want %q, got %v", test.want, err)
			}
		})
	}
}

func TestMatrix(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		matrix string
		want   []map[string]any
	}{
		"every combination, in order": {
			"{ a: [1, 2], b: [x, y] }",
			[]map[string]any{{"a": 1.0, "b": "x"}, {"a": 1.0, "b": "y"}, {"a": 2.0, "b": "x"}, {"a": 2.0, "b": "y"}},
		},
		"excluded ones are left out": {"{ a: [1, 2], exclude: [{ a: 1 }] }", []map[string]any{{"a": 2.0}}},
		"included values are added where they fit, or alone": {
			"{ a: [1, 2], include: [{ a: 1, c: z }, { a: 3 }] }", []map[string]any{{"a": 1.0, "c": "z"}, {"a": 2.0}, {"a": 3.0}},
		},
		"only included ones": {"{ include: [{ a: 1 }, { a: 2 }] }", []map[string]any{{"a": 1.0}, {"a": 2.0}}},
		"an expression":      {"{ a: \"${{ fromJSON(inputs.labels) }}\" }", []map[string]any{{"a": "self-hosted"}, {"a": "x"}}},
		"an empty list":      {"{ a: \"${{ fromJSON('[]') }}\" }", nil},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := parse(t, "on: push\njobs: { a: { runs-on: x, strategy: { matrix: "+test.matrix+" } } }")
			got, err := w.Jobs[0].Combinations(values())
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestGrants(t *testing.T) {
	t.Parallel()
	read := workflow.Permissions{"contents": "read"}
	tests := map[string]struct{ job, file, limit, want workflow.Permissions }{
		"the repository's default":        {nil, nil, nil, workflow.Permissions{"metadata": "read", "contents": "read"}},
		"the workflow says":               {nil, workflow.Permissions{"checks": "write"}, nil, workflow.Permissions{"metadata": "read", "checks": "write"}},
		"the job says, and nothing else":  {workflow.Permissions{}, workflow.Permissions{"checks": "write"}, nil, workflow.Permissions{"metadata": "read"}},
		"no more than the caller has":     {workflow.Permissions{"checks": "write", "issues": "write"}, nil, workflow.Permissions{"checks": "read"}, workflow.Permissions{"metadata": "read", "checks": "read"}},
		"of a fork, an identity is never": {workflow.Permissions{"id-token": "write", "contents": "write"}, nil, workflow.Permissions{"*": "read"}, workflow.Permissions{"metadata": "read", "contents": "read"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(test.want, workflow.Grant(test.job, test.file, read, test.limit)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestBranchPolicies(t *testing.T) {
	t.Parallel()
	tests := []struct {
		pattern, name string
		want          bool
	}{
		{"main", "main", true},
		{"release/*", "release/1", true},
		{"release/*", "release/1/2", false},
		{"release/*/*", "release/1/2", true},
		{"*", "a/b", false},
		{"**/b", "x/y/b", true},
		{"refs/pull/*/merge", "refs/pull/7/merge", true},
		{"main", "mainly", false},
		{"[", "[", false},
	}
	for _, test := range tests {
		t.Run(test.pattern+" and "+test.name, func(t *testing.T) {
			t.Parallel()
			if got := workflow.MatchPolicy(test.pattern, test.name); got != test.want {
				t.Errorf("want %v", test.want)
			}
		})
	}
}

func TestGroupsLetOneGoAtATime(t *testing.T) {
	t.Parallel()
	t.Run("by default a newcomer takes the place of the one that waits", func(t *testing.T) {
		t.Parallel()
		var g workflow.Group[int]
		got := [][]int{g.Join(1, "", false), g.Join(2, "", false), g.Join(3, "", false)}
		if diff := cmp.Diff([][]int{nil, nil, {2}}, got); diff != "" {
			t.Error(diff)
		}
		g.Leave(2)
		g.Leave(1)
		if !g.Goes(3) || len(g.Pending) != 0 {
			t.Errorf("want 3 to go: %+v", g)
		}
	})
	t.Run("queue max keeps all in their order", func(t *testing.T) {
		t.Parallel()
		var g workflow.Group[int]
		var order []int
		for member := range 5 {
			if out := g.Join(member, "max", false); out != nil {
				t.Errorf("%d cancelled %v", member, out)
			}
		}
		for !g.Empty() {
			order = append(order, g.Running[0])
			g.Leave(g.Running[0])
		}
		if diff := cmp.Diff([]int{0, 1, 2, 3, 4}, order); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("queue max refuses the hundred and first that waits", func(t *testing.T) {
		t.Parallel()
		var g workflow.Group[int]
		for member := range 101 {
			g.Join(member, "max", false)
		}
		if diff := cmp.Diff([]int{101}, g.Join(101, "max", false)); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("cancel-in-progress cancels the one that goes, and waits for its end", func(t *testing.T) {
		t.Parallel()
		var g workflow.Group[int]
		g.Join(1, "", false)
		if diff := cmp.Diff([]int{1}, g.Join(2, "", true)); diff != "" {
			t.Error(diff)
		}
		if g.Goes(2) {
			t.Error("want 2 to wait until 1 has ended")
		}
	})
}

func TestSingleJobHasNothingThatIsDecidedAlready(t *testing.T) {
	t.Parallel()
	w := parse(t, `
name: Deploy
on: { workflow_dispatch: { inputs: { sha: { required: true } } } }
permissions: { contents: write }
concurrency: { group: x, queue: max }
env: { A: b }
jobs:
  plan:
    runs-on: ubuntu-latest
    outputs: { digest: "${{ steps.p.outputs.d }}" }
    steps: [{ id: p, run: plan }]
  apply:
    needs: plan
    if: needs.plan.outputs.digest != ''
    runs-on: [self-hosted, west]
    environment: prod
    concurrency: prod
    strategy: { matrix: { shard: [1, 2] } }
    steps:
      - uses: actions/checkout@8e8c483db84b4bee98b60c0593521ed34d9990e8
      - run: apply
`)
	files, err := w.Single(workflow.Single{
		Job: "apply", Event: "workflow_dispatch", Matrix: map[string]any{"shard": "${{ github.token }}"}, Outputs: "/out",
		Needs: map[string]workflow.Need{"plan": {Result: "success", Outputs: map[string]string{"digest": "${{ secrets.KEY }} it's"}}},
		Action: func(uses string) string {
			return strings.Replace(uses, "8e8c483db84b4bee98b60c0593521ed34d9990e8", "main", 1)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := `name: Deploy
on:
    workflow_dispatch:
        inputs: {sha: {required: true}}
env: {A: b}
jobs:
    plan:
        runs-on: stand-in
        outputs:
            digest: ${{ '${{ secrets.KEY }} it''s' }}
        steps:
            - run: ':'
    apply:
        name: apply
        runs-on: stand-in
        needs:
            - plan
        if: always()
        strategy:
            matrix:
                include:
                    - shard: ${{ '${{ github.token }}' }}
        steps:
            - uses: actions/checkout@main
            - run: apply
`
	if diff := cmp.Diff(want, string(files.Workflow)); diff != "" {
		t.Error(diff)
	}
}

func FuzzExpressionsNeverPanic(f *testing.F) {
	for _, seed := range []string{"${{ a.b[0].*.c == 'x' }}", "${{ format('{0}', 1) }}", "${{ !true && (1 < 2) }}", "${{ fromJSON('[1]')[0] }}", "${{"} {
		f.Add(seed)
	}
	f.Fuzz(func(_ *testing.T, text string) {
		_, _ = workflow.Interpolate(text, values())
		_, _ = workflow.Condition(text, values())
	})
}
