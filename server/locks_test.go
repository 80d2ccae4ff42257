package server_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/switchyard-dev/switchyard/sandbox"
	"github.com/switchyard-dev/switchyard/sandbox/story"
	"github.com/switchyard-dev/switchyard/settings"
)

// states is a store of Terraform's http backend, with a hand inside.
// https://developer.hashicorp.com/terraform/language/backend/http
type states struct {
	t   *testing.T
	url string

	mu    sync.Mutex
	state map[string][]byte
	locks map[string]string // by state: what the holder says about itself
	deny  bool              // refuses every call
}

func newStates(t *testing.T) *states {
	t.Helper()
	s := &states{t: t, state: map[string][]byte{}, locks: map[string]string{}}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	s.url = server.URL
	return s
}

func (s *states) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	s.mu.Lock()
	defer s.mu.Unlock()
	name := r.URL.Path
	held := s.locks[name]
	switch {
	case s.deny:
		w.WriteHeader(http.StatusForbidden)
	case r.Method == "LOCK" && held != "":
		w.WriteHeader(http.StatusLocked)
		_, _ = io.WriteString(w, held)
	case r.Method == "LOCK":
		s.locks[name] = string(body)
	case r.Method == "UNLOCK" && len(body) > 0 && idOf(string(body)) != idOf(held):
		w.WriteHeader(http.StatusConflict)
	case r.Method == "UNLOCK":
		delete(s.locks, name)
	case r.Method == http.MethodPost:
		s.state[name] = body
	case r.Method == http.MethodGet && s.state[name] == nil:
		w.WriteHeader(http.StatusNoContent)
	default:
		_, _ = w.Write(s.state[name])
	}
}

func idOf(info string) string {
	var said struct{ ID string }
	_ = json.Unmarshal([]byte(info), &said) // of one that is no JSON there is none
	return said.ID
}

// holder is the id of who holds the lock of an environment's state; empty when nobody does.
func (s *states) holder(environment string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return idOf(s.locks["/"+environment])
}

// laptop has somebody outside Switchyard hold the lock.
func (s *states) laptop(environment, id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.locks["/"+environment] = fmt.Sprintf(`{"ID":%q,"Operation":"OperationTypeApply","Info":"","Who":"mia@laptop","Version":"1.11.4",`+
		`"Created":%q,"Path":""}`, id, time.Now().UTC().Format(time.RFC3339Nano))
}

// longAgo has all locks have been taken that much earlier.
func (s *states) longAgo(age time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, held := range s.locks {
		var info map[string]any
		if err := json.Unmarshal([]byte(held), &info); err != nil {
			s.t.Error(err)
		}
		text, _ := info["Created"].(string)
		created, err := time.Parse(time.RFC3339Nano, text)
		if err != nil {
			s.t.Error(err)
		}
		info["Created"] = created.Add(-age).Format(time.RFC3339Nano)
		data, err := json.Marshal(info)
		if err != nil {
			s.t.Error(err)
		}
		s.locks[name] = string(data)
	}
}

// locker is a shop whose states have locks that outlive who took them.
type locker struct {
	*shop
	states *states
}

func newLocker(t *testing.T, w *world, more string) *locker {
	t.Helper()
	store := newStates(t)
	address := store.url + "/{environment}"
	s := newShopOn(t, w, map[string]string{
		".github/switchyard.yml": strings.ReplaceAll(oneRoot, `{ path: "STATES/{application}-{environment}.tfstate" }`,
			fmt.Sprintf(`{ address: %q, lock_address: %q, unlock_address: %q }`, address, address, address)) + more,
		"infra/main.tf": strings.ReplaceAll(rootFile, `"local"`, `"http"`),
	})
	return &locker{shop: s, states: store}
}

// killed has the apply that is at work killed together with all that it has started.
func (s *shop) killed() {
	s.t.Helper()
	files, err := filepath.Glob(filepath.Join(s.data, "runs", "*", "alive"))
	if err != nil || len(files) == 0 {
		s.t.Fatalf("no attempt of the executor: %v", err)
	}
	for _, file := range files {
		identity, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		session, _, _ := strings.Cut(string(identity), " ")
		id, err := strconv.Atoi(strings.TrimSpace(session))
		if err != nil || id < 2 {
			continue
		}
		for _, pid := range inSession(id) {
			_ = syscall.Kill(pid, syscall.SIGKILL) // one that is gone is gone
		}
	}
}

// inSession lists the processes of a session.
func inSession(session int) []int {
	entries, _ := os.ReadDir("/proc")
	var all []int
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		stat, err := os.ReadFile(filepath.Join("/proc", entry.Name(), "stat"))
		if err != nil {
			continue
		}
		_, rest, _ := strings.Cut(string(stat[bytes.LastIndexByte(stat, ')'):]), " ")
		if fields := strings.Fields(rest); len(fields) > 3 && fields[3] == strconv.Itoa(session) {
			all = append(all, pid)
		}
	}
	return all
}

// code waits for the newest comment that asks for a /confirm, other than those before, and gives what it asks for.
func (s *shop) code(number int, before ...string) string {
	s.t.Helper()
	var code string
	s.eventually(fmt.Sprintf("a /confirm is asked for on #%d", number), func() bool {
		for _, comment := range s.comments(number) {
			_, text, asks := strings.Cut(comment.Body, "`/confirm ")
			found, _, _ := strings.Cut(text, "`")
			if asks && comment.Bot && !strings.Contains(comment.Body, "was not carried out") && !strings.Contains(strings.Join(before, " "), found) {
				code = found
			}
		}
		return code != ""
	})
	return code
}

// comments are those of a pull request or an issue.
func (s *shop) comments(number int) []sandbox.Comment {
	if view, ok := s.repo.PullView(number); ok {
		return view.Comments
	}
	view, _ := s.repo.Issue(number)
	return view.Comments
}

// incident is the open issue that has the incidents of an environment.
func (s *shop) incident(environment string) (sandbox.IssueView, bool) {
	for _, issue := range s.repo.Issues() {
		if issue.State == "open" && strings.Contains(issue.Title, environment) {
			return issue, true
		}
	}
	return sandbox.IssueView{}, false
}

// entry waits for a comment of the environment's incident issue that has all these words.
func (s *shop) entry(environment string, words ...string) {
	s.t.Helper()
	s.eventually(fmt.Sprintf("an entry of %s with %q", environment, words), func() bool {
		issue, _ := s.incident(environment)
		for _, comment := range issue.Comments {
			all := true
			for _, word := range words {
				all = all && strings.Contains(comment.Body, word)
			}
			if all {
				return true
			}
		}
		return false
	})
}

func TestALockThatAKilledApplyLeftIsExplainedAndBroken(t *testing.T) {
	t.Parallel()
	s := newLocker(t, newWorld(t), "")
	g := s.gate(t)
	number := s.open("feature/slow", "develop", g.file())
	s.planned(number, "dev")
	sha := s.merge(number)
	g.began()
	held := s.states.holder("dev")
	if held == "" {
		t.Fatal("the apply holds no lock")
	}
	s.comment(story.Ana, number, "/break-lease dev")
	s.said(number, held, "`/cancel dev`") // it is alive, so its lock is kept
	s.killed()
	s.checkIs(sha, "switchyard / apply (dev)", "failure")
	if s.states.holder("dev") != held {
		t.Fatal("the lock did not outlive the apply")
	}
	s.comment(story.Ben, number, "/apply dev")
	s.said(number, "`/break-lease dev infra`", "not running any more")
	s.comment(story.Ben, number, "/break-lease dev")
	s.said(number, "maintain")
	s.comment(story.Ana, number, "/break-lease dev --lock-id 11111111-2222-3333-4444-555555555555")
	s.said(number, "11111111-2222-3333-4444-555555555555", held)
	s.comment(story.Ana, number, "/break-lease dev infra --reason the machine was restarted")
	code := s.code(number)
	if s.states.holder("dev") != held {
		t.Fatal("the lock was broken before anybody said yes to that")
	}
	s.comment(story.Ana, number, "/confirm "+code)
	s.said(number, "switchyard:answer/", "is free", "`/apply dev`")
	if holder := s.states.holder("dev"); holder != "" {
		t.Errorf("%s still holds the lock", holder)
	}
	s.entry("dev", "ana", held, "the machine was restarted")
	s.comment(story.Ana, number, "/confirm "+code)
	s.said(number, "confirmed before")
	s.comment(story.Ben, number, "/apply dev")
	g.began()
	g.open()
	s.eventually("the next apply succeeds", func() bool {
		for _, check := range s.repo.Checks(sha) {
			if check.Name == "switchyard / apply (dev)" && check.Conclusion == "success" {
				return true
			}
		}
		return false
	})
	issues := 0
	for _, issue := range s.repo.Issues() {
		if strings.Contains(issue.Title, "dev") {
			issues++
		}
	}
	if issues != 1 {
		t.Errorf("%d issues", issues)
	}
}

func TestALockOfALaptopIsBrokenByTwoAndOnlyAsItWasExplained(t *testing.T) {
	t.Parallel()
	s := newLocker(t, newWorld(t), "commands:\n  break-lease: { reason: true }\n")
	s.repo.SetRole(story.Cleo, sandbox.Maintain)
	number, err := s.repo.OpenIssue(s.ctx, story.Ana, "prod is locked", "Since this morning.")
	if err != nil {
		t.Fatal(err)
	}
	const first, second = "aaaaaaaa-1111-2222-3333-444444444444", "bbbbbbbb-1111-2222-3333-444444444444"
	answered := func(words ...string) {
		t.Helper()
		s.eventually(fmt.Sprintf("an answer with %q", words), func() bool {
			for _, comment := range s.comments(number) {
				all := comment.Bot
				for _, word := range words {
					all = all && strings.Contains(comment.Body, word)
				}
				if all {
					return true
				}
			}
			return false
		})
	}
	s.comment(story.Ana, number, "/break-lease prod")
	answered("in prod is free")
	s.states.laptop("prod", first)
	s.comment(story.Ana, number, "/break-lease prod")
	answered("--reason")
	s.comment(story.Ana, number, "/break-lease prod --reason the laptop was lost")
	code := s.code(number)
	answered("mia@laptop", first, "Another person", "/confirm "+code)
	s.comment(story.Ana, number, "/confirm "+code)
	answered("another person has to confirm", "ana asked for it") // the same person does not do
	s.comment(story.Ben, number, "/confirm "+code)
	answered("It needs maintain permission")
	s.states.laptop("prod", second) // somebody else has taken it meanwhile
	s.comment(story.Cleo, number, "/confirm "+code)
	answered(second, "Nothing was")
	if holder := s.states.holder("prod"); holder != second {
		t.Fatalf("%q holds the lock: one was broken that nobody explained", holder)
	}
	s.comment(story.Ana, number, "/break-lease prod --reason the laptop was lost")
	again := s.code(number, code)
	s.comment(story.Cleo, number, "/confirm "+strings.ToLower(again))
	answered("in prod is free", "confirmed by cleo")
	if holder := s.states.holder("prod"); holder != "" {
		t.Errorf("%s still holds the lock", holder)
	}
	s.comment(story.Cleo, number, "/confirm ZZZZZZZZ")
	answered("ZZZZZZZZ", "nothing asks for that code")
	s.states.laptop("prod", first)
	asked, err := s.repo.Comment(s.ctx, story.Ana, number, "/break-lease prod --reason the laptop was lost")
	if err != nil {
		t.Fatal(err)
	}
	taken := s.code(number, code, again)
	if err := s.repo.DeleteComment(s.ctx, story.Ana, asked); err != nil { // who asked has taken it back
		t.Fatal(err)
	}
	s.comment(story.Cleo, number, "/confirm "+taken)
	answered(taken, "nothing asks for that code")
	s.comment(story.Ana, number, "/break-lease prod --reason the laptop was lost")
	late := s.code(number, code, again, taken)
	if valid := s.count(`SELECT expires - asked FROM confirmations WHERE taken = 0`); valid != 900_000 {
		t.Errorf("a yes counts for %d ms, and people are told a quarter of an hour", valid)
	}
	s.moveBack(`UPDATE confirmations SET expires = expires - $1, asked = asked - $1 WHERE taken = 0`, 900_001*time.Millisecond)
	s.comment(story.Cleo, number, "/confirm "+late)
	answered(late, "comment `/break-lease prod infra`")
	if holder := s.states.holder("prod"); holder != first {
		t.Errorf("%q holds the lock: a yes counted that came too late", holder)
	}
	s.states.mu.Lock()
	s.states.deny = true
	s.states.mu.Unlock()
	s.comment(story.Ana, number, "/break-lease prod --reason the laptop was lost")
	answered("403")
}

func TestALockThatADeadApplyLeftIsToldOnceAndNeverBroken(t *testing.T) {
	t.Parallel()
	s := newLocker(t, newWorld(t, func(o *settings.Settings) { o.Sweep = 200 * time.Millisecond }), "")
	g := s.gate(t)
	number := s.open("feature/slow", "develop", g.file())
	s.planned(number, "dev")
	sha := s.merge(number)
	g.began()
	held := s.states.holder("dev")
	s.killed()
	s.checkIs(sha, "switchyard / apply (dev)", "failure")
	const ago = `UPDATE operations SET started = started - $1, ended = ended - $1 WHERE kind = 'apply'`
	s.states.longAgo(9 * time.Minute) // a minute less than it takes, for as long may these sweeps last
	s.moveBack(ago, 9*time.Minute)
	s.sweeps(3)
	if looks := s.count(`SELECT COUNT(*) FROM operations WHERE kind = 'explain-lock'`); looks != 0 {
		t.Errorf("%d looks at a lock of which nobody can say yet that it was left behind", looks)
	}
	if _, open := s.incident("dev"); open {
		t.Error("it was told too early")
	}
	s.states.longAgo(61 * time.Second)
	s.moveBack(ago, 61*time.Second)
	s.entry("dev", held, "`/break-lease dev infra`")
	s.sweeps(3)
	issue, _ := s.incident("dev")
	if len(issue.Comments) != 1 {
		t.Errorf("%d entries", len(issue.Comments))
	}
	if s.states.holder("dev") != held {
		t.Error("the lock was broken, and nobody had asked for that")
	}
}

// sweeps waits for that many jobs of the server, one after another, where nothing else is left to do than to sweep.
func (s *shop) sweeps(n int) {
	s.t.Helper()
	begun := func() int { return s.count(`SELECT next FROM turns WHERE class = 'quick'`) }
	for range n {
		before := begun()
		s.eventually("another sweep", func() bool { return begun() > before })
	}
}

// count reads one number of the database.
func (s *shop) count(query string) int {
	s.t.Helper()
	var number int
	if err := s.database().QueryRowContext(s.ctx, query).Scan(&number); err != nil {
		s.t.Fatal(err)
	}
	return number
}

// moveBack has something of the database have happened that much earlier.
func (s *shop) moveBack(statement string, by time.Duration) {
	s.t.Helper()
	if _, err := s.database().ExecContext(s.ctx, statement, by.Milliseconds()); err != nil {
		s.t.Fatal(err)
	}
}

func TestALockIsToldOnThePullRequestWhereTheRepositoryHasNoIssues(t *testing.T) {
	t.Parallel()
	s := newLocker(t, newWorld(t, func(o *settings.Settings) { o.Sweep = 200 * time.Millisecond }), "")
	s.repo.SetIssues(false)
	g := s.gate(t)
	number := s.open("feature/slow", "develop", g.file())
	s.planned(number, "dev")
	sha := s.merge(number)
	g.began()
	held := s.states.holder("dev")
	s.killed()
	s.checkIs(sha, "switchyard / apply (dev)", "failure")
	s.states.longAgo(601 * time.Second)
	s.moveBack(`UPDATE operations SET started = started - $1, ended = ended - $1 WHERE kind = 'apply'`, 601*time.Second)
	s.said(number, "was left behind", held, "`/break-lease dev infra`", "GitHub takes no issue")
	s.sweeps(3)
	entries := 0
	for _, comment := range s.comments(number) {
		if strings.Contains(comment.Body, "was left behind") {
			entries++
		}
	}
	if entries != 1 {
		t.Errorf("%d entries", entries)
	}
}
