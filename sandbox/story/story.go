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
	"sync"
	"time"

	"github.com/switchyard-dev/switchyard/sandbox"
)

//go:embed all:network
var network embed.FS

const (
	// patience is how long a step waits for one thing to be shown.
	patience = 90 * time.Second
	// quiet is how long it waits without a word.
	quiet = 3 * time.Second
)

// The people of the organisation acme.
const (
	Ana     = "ana"     // maintains the repository
	Ben     = "ben"     // writes
	Cleo    = "cleo"    // writes
	Dora    = "dora"    // maintains the repository, too
	Mallory = "mallory" // has no access
)

// Story is a sandbox with the sample repository, and what the steps so far have left behind.
type Story struct {
	Sandbox *sandbox.Sandbox
	Repo    *sandbox.Repository
	// Ledger is what `switchyard ledger` prints of an address in an environment; nil where nothing can run it.
	Ledger func(ctx context.Context, environment, address string) (string, error)
	// Store has the state that stays locked when an apply is killed.
	Store Store

	printing sync.Mutex // guards out
	out      io.Writer
	began    time.Time
	states   string // directory of Terraform's states
	step     string // that is being played
	checked  []checked
	pulls    map[string]int    // number by head branch
	merges   map[string]string // merge commit by head branch
}

// checked is one thing that a step expected, and that came.
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
		{"somebody changed prod by hand: the hotfix's apply asks about that alone, and takes a yes to exactly it", s.drift},
		{"prod asks for an approval and a second person: the replacement of a cache waits for both, and /why names them", s.secondPerson},
		{"a merge queue tests two pull requests as one group: gitflow check and plan of both together", s.mergeQueue},
		{"an apply is killed: the next one says who has the state lock, two people have it broken, and what was left is applied", s.brokenLock},
	}
}

// Prepare makes the people and the repository acme/network in a sandbox. Terraform's states are kept
// below the directory states. Nothing is installed yet.
func Prepare(ctx context.Context, box *sandbox.Sandbox, states string, out io.Writer) (*Story, error) {
	return prepare(ctx, box, states, out, nil)
}

// PrepareInWorkflows is Prepare for a story whose Terraform runs in workflows. The sandbox has Actions.
func PrepareInWorkflows(ctx context.Context, box *sandbox.Sandbox, states string, out io.Writer, w Workflows) (*Story, error) {
	return prepare(ctx, box, states, out, &w)
}

func prepare(ctx context.Context, box *sandbox.Sandbox, states string, out io.Writer, workflows *Workflows) (*Story, error) {
	if err := box.CreateOrg("acme"); err != nil {
		return nil, fmt.Errorf("create organisation: %w", err)
	}
	for _, person := range []sandbox.Person{
		{Login: Ana, Name: "Ana Almeida"},
		{Login: Ben, Name: "Ben Bauer"},
		{Login: Cleo, Name: "Cleo Chen"},
		{Login: Dora, Name: "Dora Diaz"},
		{Login: Mallory, Name: "Mallory"},
	} {
		if err := box.AddPerson(person); err != nil {
			return nil, fmt.Errorf("add %s: %w", person.Login, err)
		}
	}
	files, err := Files(states)
	if err != nil {
		return nil, err
	}
	if workflows != nil {
		workflows.add(files)
	}
	repo, err := box.CreateRepository(ctx, "acme", "network", sandbox.Seed{
		Description: "The network of acme in two Azure regions.", DefaultBranch: "main",
		Branches: []sandbox.SeedBranch{
			{Name: "main", Files: files, Message: "Network with one region", As: Ana},
			{Name: "develop", From: "main"},
			{Name: "release/1.0", From: "main"},
		},
		Roles: map[string]sandbox.Role{Ana: sandbox.Maintain, Ben: sandbox.Write, Cleo: sandbox.Write, Dora: sandbox.Maintain},
	})
	if err != nil {
		return nil, fmt.Errorf("create repository: %w", err)
	}
	if workflows != nil {
		if err := workflows.prepare(ctx, Ana, box, repo); err != nil {
			return nil, err
		}
	}
	return &Story{
		Sandbox: box, Repo: repo, out: out, states: states, began: time.Now(), pulls: map[string]int{}, merges: map[string]string{},
	}, nil
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
		s.step = fmt.Sprintf("%d. %s", i+1, step.Name)
		s.printf("\n%s\n", s.step)
		if err := step.Do(ctx); err != nil {
			s.sayf("FAILED: %v", err)
			return fmt.Errorf("step %d (%s): %w", i+1, step.Name, err)
		}
	}
	if unserved := s.Sandbox.Unserved(); len(unserved) > 0 {
		return fmt.Errorf("the stand-in was asked for what it does not serve: %s", strings.Join(unserved, ", "))
	}
	s.table()
	return nil
}

// table prints what was checked, by step.
func (s *Story) table() {
	s.printf("\nWhat was checked:\n")
	step := ""
	for _, c := range s.checked {
		if c.Step != step {
			step = c.Step
			s.printf("\n  %s\n", step)
		}
		s.printf("     ok  %s\n", c.What)
	}
	s.printf("\nAll %d checks passed in %.0f s.\n", len(s.checked), time.Since(s.began).Seconds())
}

func (s *Story) printf(format string, args ...any) {
	s.printing.Lock()
	defer s.printing.Unlock()
	fmt.Fprintf(s.out, format, args...)
}

// sayf prints one line with the time since the story began.
func (s *Story) sayf(format string, args ...any) {
	s.printf("  %6.1f s  %s\n", time.Since(s.began).Seconds(), fmt.Sprintf(format, args...))
}

// expect waits until GitHub shows something, and notes it. A long wait is told.
func (s *Story) expect(ctx context.Context, e expectation) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	told := time.AfterFunc(quiet, func() { s.sayf("… waiting until %s", e.what) })
	defer told.Stop()
	if err := s.Sandbox.Await(ctx, e.shown); err != nil {
		if errors.Is(err, context.DeadlineExceeded) {
			return fmt.Errorf("waited %s, and GitHub does not show that %s", patience, e.what)
		}
		return fmt.Errorf("wait until %s: %w", e.what, err)
	}
	s.checked = append(s.checked, checked{Step: s.step, What: e.what})
	words := e.what
	if e.words != nil {
		words += ": " + e.words()
	}
	s.sayf("%s", words)
	return nil
}

// brief is the line of a text that has a word, without its marks: as much of it as a terminal shows, with the word.
func brief(text, word string) string {
	const most, before = 100, 30
	marks := strings.NewReplacer("**", "", "`", "")
	line, _, _ := strings.Cut(strings.TrimSpace(text), "\n")
	for other := range strings.Lines(text) {
		if strings.Contains(other, word) {
			line = other
			break
		}
	}
	line = marks.Replace(strings.Join(strings.Fields(line), " "))
	at := strings.Index(line, marks.Replace(word))
	if runes := []rune(line[:max(at, 0)]); len(runes)+len([]rune(word)) > most {
		line = "…" + string(runes[max(0, len(runes)-before):]) + line[at:]
	}
	if runes := []rune(line); len(runes) > most {
		return string(runes[:most-1]) + "…"
	}
	return line
}

// expectAll waits for several things, one after another.
func (s *Story) expectAll(ctx context.Context, expectations ...expectation) error {
	for _, e := range expectations {
		if err := s.expect(ctx, e); err != nil {
			return err
		}
	}
	return nil
}

// expectation is one thing that GitHub shall show.
type expectation struct {
	what  string // a sentence without its capital and its full stop
	shown func() bool
	words func() string // what is shown, if that is worth a line
}

// place is a commit and how people call it.
type place struct {
	name string
	sha  func() string
}

// check expects a check of the pull request's head or of a commit to be completed so.
func (s *Story) check(at place, name, conclusion string) expectation {
	colour := map[string]string{"success": "green", "failure": "red", "neutral": "grey", "action_required": "yellow"}[conclusion]
	find := func() (sandbox.Check, bool) {
		for _, c := range s.Repo.Checks(at.sha()) {
			if c.Name == name && c.Status == "completed" && c.Conclusion == conclusion {
				return c, true
			}
		}
		return sandbox.Check{}, false
	}
	return expectation{
		what:  fmt.Sprintf("%s has a %s check %q", at.name, colour, name),
		shown: func() bool { _, ok := find(); return ok },
		words: func() string { c, _ := find(); return brief(c.Title, "") },
	}
}

// head is the head commit of a pull request.
func (s *Story) head(branch string) place {
	return place{name: fmt.Sprintf("#%d", s.pulls[branch]), sha: func() string {
		view, _ := s.Repo.PullView(s.pulls[branch])
		return view.Head.SHA
	}}
}

// comment expects a comment of the App on a pull request that has all these words.
func (s *Story) comment(branch, what string, words ...string) expectation {
	return expectation{what: what, shown: func() bool { return len(s.commentsWith(branch, words...)) > 0 }, words: func() string {
		found := s.commentsWith(branch, words...)
		return brief(found[len(found)-1].Body, words[0])
	}}
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

// deployment expects a deployment of a commit to an environment to have succeeded.
func (s *Story) deployment(environment string, at place) expectation {
	const state = "success"
	return expectation{
		what: fmt.Sprintf("%s has a deployment to %s with the state %s", at.name, environment, state),
		shown: func() bool {
			for _, d := range s.Repo.Deployments(environment) {
				if d.SHA == at.sha() && len(d.States) > 0 && d.States[len(d.States)-1].State == state {
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
	s.sayf("%s opens #%d: %s → %s (%s)", as, number, from, to, title)
	return nil
}

// merge has Ana merge the pull request of a branch.
func (s *Story) merge(ctx context.Context, branch string) error {
	sha, err := s.Repo.Merge(ctx, Ana, s.pulls[branch], "merge")
	if err != nil {
		return fmt.Errorf("merge %s: %w", branch, err)
	}
	s.merges[branch] = sha
	s.sayf("%s merges #%d (%s)", Ana, s.pulls[branch], branch)
	return nil
}

// merged is the merge commit of a pull request.
func (s *Story) merged(branch string) place {
	return place{name: fmt.Sprintf("the merge of #%d", s.pulls[branch]), sha: func() string { return s.merges[branch] }}
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
