package gitflow_test

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"github.com/switchyard-dev/switchyard/gitflow"
	"github.com/switchyard-dev/switchyard/repoconfig"
)

var update = flag.Bool("update", false, "write the golden files anew")

// usual is the configuration of cases that do not bring their own.
const usual = `
version: 1
application: network
environments:
  dev: { branch: develop }
  test: { branch: [release, "release/*"] }
  prod: { branch: main }
roots: [{ dir: src/terraform, backend: { key: "{application}-{environment}" } }]
`

// golden is one case: testdata/NAME.yaml, decided about, reads like testdata/NAME.golden.
type golden struct {
	Default      bool                 `yaml:"default"` // the repository has no configuration
	Config       yaml.Node            `yaml:"config"`  // instead of the usual one
	OpenReleases []string             `yaml:"open_releases"`
	PullRequest  *gitflow.PullRequest `yaml:"pull_request"`
	Push         *gitflow.Push        `yaml:"push"`
	MergeGroup   *gitflow.MergeGroup  `yaml:"merge_group"`
}

func (g golden) config() (repoconfig.Config, error) {
	data := []byte(usual)
	switch {
	case g.Default:
		return repoconfig.Default(), nil
	case !g.Config.IsZero():
		var err error
		if data, err = yaml.Marshal(&g.Config); err != nil {
			return repoconfig.Config{}, fmt.Errorf("write config: %w", err)
		}
	}
	return repoconfig.Parse(data) //nolint:wrapcheck // a test shows it as it is
}

func (g golden) decide() (gitflow.Decision, error) {
	config, err := g.config()
	if err != nil {
		return gitflow.Decision{}, err
	}
	facts := gitflow.Facts{OpenReleases: g.OpenReleases}
	switch {
	case g.PullRequest != nil:
		return gitflow.DecidePullRequest(config, *g.PullRequest, facts), nil
	case g.Push != nil:
		return gitflow.DecidePush(config, *g.Push, facts), nil
	case g.MergeGroup != nil:
		return gitflow.DecideMergeGroup(config, *g.MergeGroup, facts), nil
	default:
		return gitflow.Decision{}, errors.New("the case has no pull_request, push or merge_group")
	}
}

func TestDecisionsReadLikeTheirGoldenFiles(t *testing.T) {
	t.Parallel()
	cases, err := filepath.Glob("testdata/*.yaml")
	if err != nil || len(cases) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, file := range cases {
		name := strings.TrimSuffix(filepath.Base(file), ".yaml")
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			data, err := os.ReadFile(file) //nolint:gosec // the names come from Glob
			if err != nil {
				t.Fatal(err)
			}
			var g golden
			decoder := yaml.NewDecoder(strings.NewReader(string(data)))
			decoder.KnownFields(true)
			if err := decoder.Decode(&g); err != nil {
				t.Fatal(err)
			}
			decision, err := g.decide()
			if err != nil {
				t.Fatal(err)
			}
			same(t, strings.TrimSuffix(file, ".yaml")+".golden", decision.String())
			holds(t, decision)
		})
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
	want, err := os.ReadFile(file) //nolint:gosec // a golden file of this package
	if err != nil {
		t.Fatalf("%v (go test -update writes it)", err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s differs (-golden +now):\n%s", file, diff)
	}
}

// holds checks what every decision must be, whatever it was about.
func holds(t *testing.T, d gitflow.Decision) {
	t.Helper()
	if len(d.Reasons) == 0 || d.Title == "" {
		t.Errorf("no reason or no title: %+v", d)
	}
	if d.Verdict == gitflow.Refused && (len(d.Reasons) < 2 || d.Remedy == "" || d.Environment != "") {
		t.Errorf("a refusal must say why and what next, and have no environment: %+v", d)
	}
	if d.Verdict == gitflow.Silent && (d.Environment != "" || d.Confirm != "") {
		t.Errorf("a silent decision must do nothing: %+v", d)
	}
	if d.Environment != "" && (d.Deploys != d.Environment || !strings.HasSuffix(d.Reasons[1], " deploys to "+d.Environment+".")) {
		t.Errorf("the second reason must say why it is this environment: %+v", d)
	}
	if len([]rune(d.Title)) > 255 {
		t.Errorf("the title has more than 255 characters: %s", d.Title)
	}
	if strings.ContainsFunc(strings.Join(append(append([]string{d.Title, d.Remedy, d.Confirm}, d.Reasons...), d.Later...), ""),
		func(r rune) bool { return r < ' ' || r == 0x202E }) {
		t.Errorf("invisible characters in %q", d)
	}
	if d.Advice && (d.Verdict == gitflow.Allowed || d.Verdict == gitflow.Refused || d.Applies) {
		t.Errorf("advice must not judge or apply: %+v", d)
	}
}
