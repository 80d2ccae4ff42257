package commands_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"github.com/switchyard-dev/switchyard/commands"
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
roots:
  - { dir: src/terraform, backend: { key: "{application}-{environment}" } }
  - { dir: src/dns, backend: { key: "dns-{environment}" } }
`

// golden is one case: testdata/NAME.yaml, decided about, reads like testdata/NAME.golden. Without a
// thread, the comment is on an open pull request into develop.
type golden struct {
	Default bool      `yaml:"default"` // the repository has no configuration
	Config  yaml.Node `yaml:"config"`  // instead of the usual one
	Comment string    `yaml:"comment"`
	Person  struct {
		Login      string   `yaml:"login"`
		Bot        bool     `yaml:"bot"`
		Permission string   `yaml:"permission"`
		Teams      []string `yaml:"teams"`
	} `yaml:"person"`
	Thread struct {
		Issue bool   `yaml:"issue"`
		Fork  bool   `yaml:"fork"`
		State string `yaml:"state"`
		Base  string `yaml:"base"`
	} `yaml:"thread"`
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

// answer decides about the case, and carries /help out.
func (g golden) answer() (string, error) {
	config, err := g.config()
	if err != nil {
		return "", err
	}
	c, ours, parseErr := commands.Parse(g.Comment)
	if !ours {
		return "not a command\n", nil
	}
	person := commands.Person(g.Person)
	thread := commands.Thread{Pull: 41, Issue: g.Thread.Issue, Fork: g.Thread.Fork, State: g.Thread.State, Base: g.Thread.Base}
	if thread.Base == "" && !thread.Issue {
		thread.Base = "develop"
	}
	if environment, ok := config.EnvironmentOf(thread.Base); ok && !thread.Issue {
		thread.Environment = environment.Name
	}
	d := commands.Decide(config, c, parseErr, person, thread)
	switch {
	case d.Ignore:
		return "ignored\n", nil
	case d.Refusal != "":
		return d.Refusal + "\n", nil
	case d.Do == "help":
		return commands.Help(config, person), nil
	case d.Do == "break-lease":
		return fmt.Sprintf("do %s: environment=%s root=%s lock=%s reason=%s\n",
			d.Do, d.Command.Environment, d.Command.Root, d.Command.LockID, d.Command.Reason), nil
	case d.Do == "confirm":
		return fmt.Sprintf("do %s: code=%s\n", d.Do, d.Command.Code), nil
	default:
		return fmt.Sprintf("do %s: environment=%s root=%s digest=%s address=%s\n",
			d.Do, d.Command.Environment, d.Command.Root, d.Command.Digest, d.Command.Address), nil
	}
}

func TestAnswersReadLikeTheirGoldenFiles(t *testing.T) {
	t.Parallel()
	cases, err := filepath.Glob("testdata/*.yaml")
	if err != nil || len(cases) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, file := range cases {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".yaml"), func(t *testing.T) {
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
			got, err := g.answer()
			if err != nil {
				t.Fatal(err)
			}
			same(t, strings.TrimSuffix(file, ".yaml")+".golden", got)
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
