package story

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/switchyard-dev/switchyard/sandbox"
)

const (
	vaultState = "hotfix/vault-state"
	vault      = "hotfix/vault"
	vaultRoot  = "src/vault"

	// look is how often a file is looked for, of which another process gives no signal.
	look = 20 * time.Millisecond
)

// brokenLock has the apply of a root killed whose state stays locked then, and people find that out and break the lock.
func (s *Story) brokenLock(ctx context.Context) error {
	if err := s.keepVault(ctx); err != nil {
		return err
	}
	atWork := filepath.Join(s.states, "at-work")
	err := s.open(ctx, Ben, vault, "main", "main", "A vault in prod", map[string]string{
		vaultRoot + "/main.tf": strings.NewReplacer("BACKEND", s.backend(), "AT_WORK", atWork).Replace(vaultFile),
	})
	if err != nil {
		return err
	}
	if err := s.expect(ctx, s.check(s.head(vault), "switchyard / plan (prod)", "success")); err != nil {
		return err
	}
	if _, err := s.Repo.Review(ctx, Cleo, s.pulls[vault], sandbox.Approved); err != nil {
		return fmt.Errorf("approve #%d: %w", s.pulls[vault], err)
	}
	s.sayf("%s approves #%d", Cleo, s.pulls[vault])
	if err := s.expect(ctx, s.comment(vault, "the approval is shown", "pproved by")); err != nil {
		return err
	}
	if err := s.merge(ctx, vault); err != nil {
		return err
	}
	if err := s.sayYes(ctx, 1, "prod has to be proved in test, or somebody says yes"); err != nil {
		return err
	}
	if err := s.killWhatWorks(ctx, atWork); err != nil {
		return err
	}
	err = s.expect(ctx, s.comment(vault, "it is said that nobody knows how far the apply came", "is not known whether prod was changed"))
	if err != nil {
		return err
	}
	if stale := s.commentsWith(vault, "is not known whether prod was changed", "a yes is needed"); len(stale) > 0 {
		return fmt.Errorf("it is said together with what came before the yes:\n%s", stale[0].Body)
	}
	if err := s.say(ctx, Cleo, "/apply prod"); err != nil {
		return err
	}
	command, holder := "/break-lease prod "+vaultRoot, "is held by the apply to prod of #"+strconv.Itoa(s.pulls[vault])
	err = s.expectAll(ctx,
		s.comment(vault, "the next apply says who holds the lock, and the one command", holder, command),
		s.check(s.merged(vault), "switchyard / apply (prod)", "failure"),
	)
	if err != nil {
		return err
	}
	if err := s.say(ctx, Mallory, command); err != nil {
		return err
	}
	if err := s.expect(ctx, s.comment(vault, "an outsider is refused", "`"+Mallory+"`", "maintain")); err != nil {
		return err
	}
	if err := s.confirmBreaking(ctx, command); err != nil {
		return err
	}
	if err := s.say(ctx, Cleo, "/apply prod"); err != nil {
		return err
	}
	if err := s.sayYes(ctx, 2, "the next apply meets no lock, and asks for the same yes, as that was to the first one"); err != nil {
		return err
	}
	return s.expectAll(ctx,
		s.check(s.merged(vault), "switchyard / apply (prod)", "success"),
		s.comment(vault, "the next apply does what was left", "Applied to prod"),
		s.deployment("prod", s.merged(vault)),
	)
}

// sayYes waits until applies of the vault have asked for a yes so often, and has Ana give it.
func (s *Story) sayYes(ctx context.Context, times int, what string) error {
	const yes = "comment `/apply prod "
	asked := func() []sandbox.Comment {
		return s.commentsWith(vault, yes, "Not proved in test", "switchyard:notice/prod/")
	}
	err := s.expect(ctx, expectation{what: what, shown: func() bool { return len(asked()) == times }})
	if err != nil {
		return err
	}
	_, digest, _ := strings.Cut(asked()[times-1].Body, yes)
	digest, _, _ = strings.Cut(digest, "`")
	return s.say(ctx, Ana, "/apply prod "+digest)
}

// confirmBreaking has Ana ask for the lock to be broken, and two people say yes.
func (s *Story) confirmBreaking(ctx context.Context, command string) error {
	const ask = "`/confirm "
	if err := s.say(ctx, Ana, command+" --reason its machine was lost"); err != nil {
		return err
	}
	err := s.expect(ctx, s.comment(vault, "the lock is explained first, and another person is asked for", ask, "another person"))
	if err != nil {
		return err
	}
	asked := s.commentsWith(vault, ask)
	_, code, _ := strings.Cut(asked[len(asked)-1].Body, ask)
	code, _, _ = strings.Cut(code, "`")
	if err := s.say(ctx, Ana, "/confirm "+code); err != nil {
		return err
	}
	if err := s.expect(ctx, s.comment(vault, "who asked cannot confirm", "/confirm "+code, Ana+" asked for it")); err != nil {
		return err
	}
	if err := s.say(ctx, Dora, "/confirm "+code); err != nil {
		return err
	}
	free := "The state lock of `" + vaultRoot + "` in prod is free"
	report := []expectation{s.comment(vault, "a second maintainer can: the lock is taken over, and released", free, Dora)}
	if s.backend() == "azurerm" {
		report = append(report, s.comment(vault, "the state was copied before", "The state was copied before", free))
	}
	report = append(report,
		s.comment(vault, "the report says what the killed apply left to do", "this is left", "terraform_data.key", free),
		s.incident("prod", free, "its machine was lost"),
	)
	return s.expectAll(ctx, report...)
}

// incident expects the open issue that keeps the incidents of an environment to have an entry with these words.
func (s *Story) incident(environment string, words ...string) expectation {
	find := func() (sandbox.IssueView, bool) {
		for _, issue := range s.Repo.Issues() {
			if issue.State != "open" || !strings.Contains(issue.Title, environment) {
				continue
			}
			if slices.ContainsFunc(issue.Comments, func(c sandbox.Comment) bool { return c.Bot && containsAll(c.Body, words) }) {
				return issue, true
			}
		}
		return sandbox.IssueView{}, false
	}
	return expectation{
		what:  "the incident issue of " + environment + " has an entry",
		shown: func() bool { _, found := find(); return found },
		words: func() string { issue, _ := find(); return fmt.Sprintf("#%d %s", issue.Number, issue.Title) },
	}
}

// say comments on the pull request of the vault, and expects the comment to have been seen.
func (s *Story) say(ctx context.Context, as, says string) error {
	number := s.pulls[vault]
	id, err := s.Repo.Comment(ctx, as, number, says)
	if err != nil {
		return fmt.Errorf("comment %q: %w", says, err)
	}
	s.sayf("%s comments %s", as, says)
	return s.expect(ctx, expectation{
		what: "a reaction says at once that " + says + " was seen", shown: func() bool { return s.seen(number, id) },
	})
}

// keepVault merges a configuration with a root whose state is kept where a lock outlives who took it.
func (s *Story) keepVault(ctx context.Context) error {
	name := "network-vault-{environment}"
	var settings map[string]string
	if s.Store.Settings == nil {
		s.sayf("the state of %s is kept by this stand-in, with Terraform's http backend, not in Azure: %s", vaultRoot, s.Store.Why)
		settings = s.Sandbox.StateBackend(name)
	} else {
		s.sayf("the state of %s is kept with Terraform's %s backend: %s", vaultRoot, s.Store.Backend, s.Store.Why)
		settings = s.Store.Settings(name)
	}
	const file = ".github/switchyard.yml"
	config, found, err := s.Repo.ReadFile(ctx, "main", file)
	if err != nil || !found {
		return errors.Join(errors.New("read the configuration of the sample repository"), err)
	}
	backend, err := json.Marshal(settings) // JSON is YAML
	if err != nil {
		return fmt.Errorf("write the settings of the backend: %w", err)
	}
	config = strings.Replace(config, "roots:\n", fmt.Sprintf("roots:\n  - dir: %s\n    backend: %s\n", vaultRoot, backend), 1)
	err = s.open(ctx, Ben, vaultState, "main", "main", "Keep the state of a vault", map[string]string{file: config})
	if err != nil {
		return err
	}
	if err := s.expect(ctx, s.check(s.head(vaultState), "switchyard / gitflow", "success")); err != nil {
		return err
	}
	return s.merge(ctx, vaultState)
}

// backend is the type of the backend that the vault's state has.
func (s *Story) backend() string {
	if s.Store.Settings == nil {
		return "http"
	}
	return s.Store.Backend
}

// vaultFile hangs in the middle of its first apply, until it is killed.
const vaultFile = `terraform {
  backend "BACKEND" {}
}

# Stands for a key vault.
resource "terraform_data" "vault" {
  input = "vault-prod"
}

# Stands for a key in it, which takes long to make.
resource "terraform_data" "key" {
  input = terraform_data.vault.output

  provisioner "local-exec" {
    command = "test -e 'AT_WORK' || { echo $$ > 'AT_WORK.new' && mv 'AT_WORK.new' 'AT_WORK' && exec sleep 600; }"
  }
}
`

// killWhatWorks waits until the apply is in the middle of its work, which a file says with the number of a process, and kills it.
func (s *Story) killWhatWorks(ctx context.Context, file string) error {
	limited, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	ticker := time.NewTicker(look)
	defer ticker.Stop()
	var said []byte
	for {
		var err error
		if said, err = os.ReadFile(file); err == nil { //nolint:gosec // of the story's own directory
			break
		}
		select {
		case <-ticker.C:
		case <-limited.Done():
			return fmt.Errorf("waited %s, and the apply is not in the middle of its work: %w", patience, context.Cause(limited))
		}
	}
	if runs := s.Repo.Runs(); len(runs) > 0 && runs[len(runs)-1].Status == "in_progress" {
		if err := s.Repo.LoseMachine(ctx, runs[len(runs)-1].ID); err != nil {
			return fmt.Errorf("lose the machine: %w", err)
		}
		s.sayf("the machine that applies #%d is lost in the middle of it", s.pulls[vault])
		return nil
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(said)))
	if err != nil {
		return fmt.Errorf("read which process works: %w", err)
	}
	if err := killWith(ctx, pid); err != nil {
		return err
	}
	s.sayf("the apply of #%d is killed in the middle of it: Terraform, and the runner that started it", s.pulls[vault])
	return nil
}

// killWith kills a process and those that it was started by, up to this program: first who started it, so that nobody is left who could
// see to it.
func killWith(ctx context.Context, pid int) error {
	parents, err := parents(ctx)
	if err != nil {
		return err
	}
	var line []int
	for ; pid > 1 && pid != os.Getpid(); pid = parents[pid] {
		if line = append(line, pid); len(line) > len(parents) {
			break
		}
	}
	if len(line) < 2 { //nolint:mnd // Terraform at least
		return fmt.Errorf("the processes that work are not found: %v", line)
	}
	for _, one := range slices.Backward(line) {
		process, err := os.FindProcess(one)
		if err == nil {
			err = process.Kill()
		}
		if err != nil && !errors.Is(err, os.ErrProcessDone) {
			return fmt.Errorf("kill process %d: %w", one, err)
		}
	}
	return nil
}

// parents are the processes of this machine with the one that each was started by.
func parents(ctx context.Context) (map[int]int, error) {
	out, err := exec.CommandContext(ctx, "ps", "-A", "-o", "pid=,ppid=").Output()
	if err != nil {
		return nil, fmt.Errorf("list the processes: %w", err)
	}
	all := map[int]int{}
	for line := range strings.Lines(string(out)) {
		var pid, parent int
		if _, err := fmt.Sscan(line, &pid, &parent); err == nil {
			all[pid] = parent
		}
	}
	return all, nil
}
