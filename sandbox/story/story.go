// Package story is the main job of Switchyard as a play: people open, merge and comment on pull
// requests of a sample repository, and each step checks what GitHub shows then. `switchyard sandbox`
// and the tests play it against a sandbox that a real server listens to. It touches nothing but that sandbox.
package story

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"time"

	"github.com/switchyard-dev/switchyard/sandbox"
)

//go:embed all:network
var network embed.FS

// patience is how long a step waits for one thing to be shown.
const patience = 90 * time.Second

// The people of the organisation acme.
const (
	Ana     = "ana"     // maintains the repository
	Ben     = "ben"     // writes
	Cleo    = "cleo"    // writes
	Mallory = "mallory" // has no access
)

// Story is a sandbox with the sample repository, and what the steps so far have left behind.
type Story struct {
	Sandbox *sandbox.Sandbox
	Repo    *sandbox.Repository

	out     io.Writer
	began   time.Time
	checked []checked
	pulls   map[string]int    // number by head branch
	merges  map[string]string // merge commit by head branch
}

// checked is one thing that a step expected, and whether it came.
type checked struct{ Step, What string }

// Step is one numbered part of the story.
type Step struct {
	Name string
	Do   func(context.Context) error
}

// Steps are the parts of the story, in order. Each stands on those before it.
func (s *Story) Steps() []Step {
	return []Step{
		{"a feature branch goes to develop: gitflow check, plan of dev, one comment", s.featureToDevelop},
		{"a feature branch to main is refused, with the base branches it may go to", s.featureToMain},
		{"the merge applies to dev: deployment, check on the merge commit, the same comment", s.mergeApplies},
		{"three merges one second apart: one applies, one waits, the third gathers it", s.threeMerges},
		{"a fix goes to test, the release to prod, a hotfix plans prod", s.promotion},
		{"comments are answered: /plan, /apply, /status, /why, /help, a typo, an outsider", s.comments},
	}
}

// Prepare makes the people and the repository acme/network in a sandbox. Terraform's states are kept
// below the directory states. Nothing is installed yet.
func Prepare(ctx context.Context, box *sandbox.Sandbox, states string, out io.Writer) (*Story, error) {
	if err := box.CreateOrg("acme"); err != nil {
		return nil, fmt.Errorf("create organisation: %w", err)
	}
	for _, person := range []sandbox.Person{
		{Login: Ana, Name: "Ana Almeida"}, {Login: Ben, Name: "Ben Bauer"},
		{Login: Cleo, Name: "Cleo Chen"}, {Login: Mallory, Name: "Mallory"},
	} {
		if err := box.AddPerson(person); err != nil {
			return nil, fmt.Errorf("add %s: %w", person.Login, err)
		}
	}
	files, err := Files(states)
	if err != nil {
		return nil, err
	}
	repo, err := box.CreateRepository(ctx, "acme", "network", sandbox.Seed{
		Description: "The network of acme in two Azure regions.", DefaultBranch: "main",
		Branches: []sandbox.SeedBranch{
			{Name: "main", Files: files, Message: "Network with one region", As: Ana},
			{Name: "develop", From: "main"},
			{Name: "release/1.0", From: "main"},
		},
		Roles: map[string]sandbox.Role{Ana: sandbox.Maintain, Ben: sandbox.Write, Cleo: sandbox.Write},
	})
	if err != nil {
		return nil, fmt.Errorf("create repository: %w", err)
	}
	return &Story{Sandbox: box, Repo: repo, out: out, began: time.Now(), pulls: map[string]int{}, merges: map[string]string{}}, nil
}

// Files are the files of the sample repository, by path, with the directory of the states filled in.
func Files(states string) (map[string]string, error) {
	files := map[string]string{}
	root, err := fs.Sub(network, "network")
	if err != nil {
		return nil, fmt.Errorf("open the sample repository: %w", err)
	}
	err = fs.WalkDir(root, ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := fs.ReadFile(root, path)
		if err != nil {
			return fmt.Errorf("read %s: %w", path, err)
		}
		files[path] = strings.ReplaceAll(string(data), "STATES", states)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the sample repository: %w", err)
	}
	return files, nil
}

// Play plays the whole story and prints it. The error names the step that failed.
func (s *Story) Play(ctx context.Context) error {
	for i, step := range s.Steps() {
		fmt.Fprintf(s.out, "\n%d. %s\n", i+1, step.Name)
		if err := step.Do(ctx); err != nil {
			s.say("FAILED: %v", err)
			return fmt.Errorf("step %d (%s): %w", i+1, step.Name, err)
		}
	}
	s.table()
	return nil
}

// table prints what was checked.
func (s *Story) table() {
	fmt.Fprintf(s.out, "\nChecked:\n")
	for _, c := range s.checked {
		fmt.Fprintf(s.out, "  ok  %s\n", c.What)
	}
	fmt.Fprintf(s.out, "%d checks passed in %s.\n", len(s.checked), time.Since(s.began).Round(time.Second))
}

// say prints one line with the time since the story began.
func (s *Story) say(format string, args ...any) {
	fmt.Fprintf(s.out, "  %6.1fs  %s\n", time.Since(s.began).Seconds(), fmt.Sprintf(format, args...))
}

// expect waits until GitHub shows something, and notes it.
func (s *Story) expect(ctx context.Context, what string, shown func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := s.Sandbox.Await(ctx, shown); err != nil {
		if errors.Is(err, context.DeadlineExceeded) {
			return fmt.Errorf("waited %s, and GitHub does not show: %s", patience, what)
		}
		return fmt.Errorf("wait for %q: %w", what, err)
	}
	s.checked = append(s.checked, checked{What: what})
	s.say("%s", what)
	return nil
}

// expectAll waits for several things, one after another.
func (s *Story) expectAll(ctx context.Context, expectations ...expectation) error {
	for _, e := range expectations {
		if err := s.expect(ctx, e.what, e.shown); err != nil {
			return err
		}
	}
	return nil
}

type expectation struct {
	what  string
	shown func() bool
}

// check expects a check of the pull request's head or of a commit to be completed so.
func (s *Story) check(sha func() string, name, conclusion string) expectation {
	return expectation{
		what: fmt.Sprintf("check %q is %s", name, conclusion),
		shown: func() bool {
			for _, c := range s.Repo.Checks(sha()) {
				if c.Name == name && c.Status == "completed" && c.Conclusion == conclusion {
					return true
				}
			}
			return false
		},
	}
}

// head is the head commit of a pull request.
func (s *Story) head(branch string) func() string {
	return func() string {
		view, _ := s.Repo.PullView(s.pulls[branch])
		return view.Head.SHA
	}
}

// comment expects a comment of the App on a pull request that has all these words.
func (s *Story) comment(branch, what string, words ...string) expectation {
	return expectation{what: what, shown: func() bool { return len(s.commentsWith(branch, words...)) > 0 }}
}

// commentsWith are the comments of the App on a pull request that have all these words.
func (s *Story) commentsWith(branch string, words ...string) []sandbox.Comment {
	var found []sandbox.Comment
	view, _ := s.Repo.PullView(s.pulls[branch])
	for _, c := range view.Comments {
		if c.Bot && containsAll(c.Body, words) {
			found = append(found, c)
		}
	}
	return found
}

func containsAll(text string, words []string) bool {
	for _, word := range words {
		if !strings.Contains(text, word) {
			return false
		}
	}
	return true
}

// deployment expects the newest deployment to an environment to be of a commit and to have come so far.
func (s *Story) deployment(environment string, sha func() string, state string) expectation {
	return expectation{
		what: fmt.Sprintf("deployment to %s is %s", environment, state),
		shown: func() bool {
			for _, d := range s.Repo.Deployments(environment) {
				if d.SHA == sha() && len(d.States) > 0 && d.States[len(d.States)-1].State == state {
					return true
				}
			}
			return false
		},
	}
}

// open pushes files to a new branch and opens a pull request.
func (s *Story) open(ctx context.Context, as, from, to, start, title string, files map[string]string) error {
	if _, err := s.Repo.Push(ctx, as, from, files, title, sandbox.PushOptions{From: start}); err != nil {
		return fmt.Errorf("push %s: %w", from, err)
	}
	number, err := s.Repo.OpenPull(ctx, as, sandbox.Pull{From: from, To: to, Title: title})
	if err != nil {
		return fmt.Errorf("open pull request of %s: %w", from, err)
	}
	s.pulls[from] = number
	s.say("%s opens #%d: %s → %s (%s)", as, number, from, to, title)
	return nil
}

// merge merges the pull request of a branch.
func (s *Story) merge(ctx context.Context, as, branch string) error {
	sha, err := s.Repo.Merge(ctx, as, s.pulls[branch], "merge")
	if err != nil {
		return fmt.Errorf("merge %s: %w", branch, err)
	}
	s.merges[branch] = sha
	s.say("%s merges #%d (%s)", as, s.pulls[branch], branch)
	return nil
}

func (s *Story) merged(branch string) func() string {
	return func() string { return s.merges[branch] }
}

// openExisting opens a pull request of a branch that is there already.
func (s *Story) openExisting(ctx context.Context, as, from, to, title string) (int, error) {
	number, err := s.Repo.OpenPull(ctx, as, sandbox.Pull{From: from, To: to, Title: title})
	if err != nil {
		return 0, fmt.Errorf("open pull request of %s: %w", from, err)
	}
	s.pulls[from] = number
	return number, nil
}
