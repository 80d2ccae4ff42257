package server_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/rs/zerolog"

	"github.com/switchyard-dev/switchyard/deploy"
	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/sandbox/story"
	"github.com/switchyard-dev/switchyard/settings"
	"github.com/switchyard-dev/switchyard/store/pgtest"
)

// guid is the delivery of an event whose payload has a word and which the server has accepted.
func (s *shop) guid(event, word string) string {
	s.t.Helper()
	found := ""
	s.eventually("a delivery of "+event, func() bool {
		for _, delivery := range slices.Backward(s.Box.Deliveries()) {
			if delivery.Event == event && delivery.StatusCode == http.StatusOK && strings.Contains(string(delivery.Payload), word) {
				found = delivery.GUID
				return true
			}
		}
		return false
	})
	return found
}

// recorded are the lines of the audit, oldest first: what, who, why and whether a webhook is named.
func (s *shop) recorded() []string {
	s.t.Helper()
	rows, err := s.database().QueryContext(s.ctx, `SELECT what, who, why, delivery <> '' FROM audit WHERE repository <> 0 ORDER BY id`)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	var lines []string
	for rows.Next() {
		var what, who, why string
		var named bool
		if err := rows.Scan(&what, &who, &why, &named); err != nil {
			s.t.Fatal(err)
		}
		line := fmt.Sprintf("%s by %s: %s", what, who, why)
		if !named {
			line += " (no webhook)"
		}
		lines = append(lines, line)
	}
	if err := rows.Err(); err != nil {
		s.t.Fatal(err)
	}
	return lines
}

// has reports whether one line has all these words.
func has(lines []string, words ...string) bool {
	return slices.ContainsFunc(lines, func(line string) bool {
		return !slices.ContainsFunc(words, func(word string) bool { return !strings.Contains(line, word) })
	})
}

func TestAPushThatIsGivenUpIsAFailedCheckOnItsCommit(t *testing.T) {
	t.Parallel()
	log := newLogged()
	s := newShopOn(t, newWorldThatLogs(t, zerolog.New(log)), nil)
	number := s.open("feature/second", "develop", map[string]string{"infra/second.tf": secondFile})
	s.planned(number, "dev")
	s.Box.Next(1000, "GET /commits/{commit_sha}/pulls").BadGateway()
	sha := s.merge(number)
	log.await(t, `"kind":"push"`, "502")
	facts, _ := s.repo.PullView(number)
	job := deploy.BranchPushed{
		Repository: operation.Repository{ID: s.repoID(), Installation: s.installation(), Owner: "acme", Name: "shop"},
		Branch:     "develop", Before: facts.Base.SHA,
	}.Job()
	job.Cause = s.guid("push", sha)
	s.Server.GiveUp(s.ctx, job, "ask for the pull request: GET …: 502 <!-- @ana -->")
	check := s.checkIs(sha, "switchyard / apply (dev)", "failure")
	for _, want := range []string{"could not be looked at", "502", "within the hour", "`/apply dev`"} {
		if !strings.Contains(check.Summary, want) {
			t.Errorf("the check does not say %q:\n%s", want, check.Summary)
		}
	}
	if strings.Contains(check.Summary, "<!--") {
		t.Errorf("the reason is not neutral:\n%s", check.Summary)
	}
	if lines := s.recorded(); !has(lines, "gave up push", "502") {
		t.Errorf("not recorded:\n%s", strings.Join(lines, "\n"))
	}
}

func (s *shop) repoID() int64       { return s.number("id") }
func (s *shop) installation() int64 { return s.number("installation") }

// number reads what the server knows about the repository.
func (s *shop) number(column string) int64 {
	s.t.Helper()
	var value int64
	if err := s.database().QueryRowContext(s.ctx, `SELECT `+column+` FROM repositories WHERE name = 'shop'`).Scan(&value); err != nil {
		s.t.Fatal(err)
	}
	return value
}

func TestTheAuditTellsWhoMergedWhatAndWhatWasRefused(t *testing.T) {
	t.Parallel()
	s := newShop(t, nil)
	number := s.open("feature/second", "develop", map[string]string{"infra/second.tf": secondFile})
	s.planned(number, "dev")
	refused := s.open("feature/wrong", "main", map[string]string{"README.md": "x\n"})
	s.checkIs(s.head(refused), "switchyard / gitflow", "failure")
	s.checkIs(s.merge(number), "switchyard / apply (dev)", "success")
	name, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	merged := fmt.Sprintf("#%d was merged into develop, by %s", number, story.Ana)
	lines := s.recorded()
	for _, want := range [][]string{
		{"apply queued by " + story.Ana, fmt.Sprintf("#%d was merged into develop", number)},
		{"apply launched by switchyard: its runner is started on " + name},
		{"apply succeeded by switchyard: " + merged},
		{"hold released by switchyard: it ended as succeeded"},
		{fmt.Sprintf("gitflow allowed by %s: #%d, feature/second → develop", story.Ben, number)},
		{fmt.Sprintf("gitflow refused by %s: #%d, feature/wrong → main", story.Ben, refused)},
	} {
		if !has(lines, want...) {
			t.Errorf("not recorded: %q", want)
		}
	}
	for _, line := range lines {
		if strings.Contains(line, "(no webhook)") {
			t.Errorf("no webhook is named: %s", line)
		}
	}
	if t.Failed() {
		t.Log(strings.Join(lines, "\n"))
	}
	before := len(lines)
	s.comment(story.Ben, refused, "/plan") // decided again, in the same way
	s.said(refused, "switchyard:answer/")
	if again := s.recorded(); len(again) != before+1 {
		t.Errorf("a decision that stays the same was recorded again:\n%s", strings.Join(again[before:], "\n"))
	}
	s.push("main", map[string]string{".github/switchyard.yml": "version: 1\nrots: []\n"})
	s.comment(story.Ana, refused, "/apply prod")
	s.said(refused, "rots")
	if lines := s.recorded(); !has(lines, "refused /apply prod by "+story.Ana, "the configuration cannot be used", "rots") {
		t.Errorf("the refusal is not recorded:\n%s", strings.Join(lines, "\n"))
	}
}

// smallDisk is a disk of its own, of so many bytes.
func smallDisk(t *testing.T, size int) string {
	t.Helper()
	dir := t.TempDir()
	err := syscall.Mount("none", dir, "tmpfs", 0, fmt.Sprintf("size=%d,mode=0700", size))
	if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.EACCES) {
		t.Skip("this user may not mount a small disk; TestADiskThatTakesNothingMore fills one without")
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// fill writes until the disk of a directory takes nothing more; what it returns makes room again.
func fill(t *testing.T, dir string) (free func()) {
	t.Helper()
	path := filepath.Join(dir, "filler")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	for size := 1 << 20; size > 0; {
		if _, err := file.Write(make([]byte, size)); err != nil {
			size /= 2
		}
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	return func() {
		t.Helper()
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
}

// readiness asks a server whether it is ready.
func (w *world) readiness() (int, string) {
	w.t.Helper()
	request, err := http.NewRequestWithContext(w.ctx, http.MethodGet, w.Server.URL()+"/readyz", http.NoBody)
	if err != nil {
		w.t.Fatal(err)
	}
	response, err := (&http.Client{Timeout: patience}).Do(request)
	if err != nil {
		w.t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return response.StatusCode, string(body)
}

func TestAFullDataDiskIsNotReadyAndAPlanFailsInWordsAlthoughTheDatabaseIsElsewhere(t *testing.T) {
	t.Parallel()
	dir := smallDisk(t, 256<<20)
	log := newLogged()
	s := newShopOn(t, newWorldThatLogs(t, zerolog.New(log), func(o *settings.Settings) {
		o.DataDir, o.Database = dir, pgtest.New(t)
	}), nil)
	number := s.open("feature/second", "develop", map[string]string{"infra/second.tf": secondFile})
	s.planned(number, "dev")
	if status, body := s.readiness(); status != http.StatusOK {
		t.Errorf("with room: %d %s", status, body)
	}
	free := fill(t, dir)
	if status, _ := s.readiness(); status != http.StatusServiceUnavailable {
		t.Errorf("without room: %d", status)
	}
	log.await(t, "Not ready", "the disk of the data directory "+dir+" is full", "make room")
	s.comment(story.Ben, number, "/plan")
	check := s.checkIs(s.head(number), "switchyard / plan (dev)", "failure")
	if text := check.Title + check.Summary + check.Text; !strings.Contains(text, "the disk of the server is full") {
		t.Errorf("the check does not say why:\n%s", text)
	}
	free()
	if status, body := s.readiness(); status != http.StatusOK {
		t.Errorf("with room again: %d %s", status, body)
	}
	s.comment(story.Ben, number, "/plan")
	s.planned(number, "dev")
}
