package server_test

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
)

// logged keeps the lines of a server's log.
type logged struct {
	mu   sync.Mutex
	data bytes.Buffer
	more chan struct{} // closed by the next line
}

func newLogged() *logged { return &logged{more: make(chan struct{})} }

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	close(l.more)
	l.more = make(chan struct{})
	return l.data.Write(p)
}

// await waits for a line with all these words.
func (l *logged) await(t *testing.T, words ...string) {
	t.Helper()
	late := time.After(patience)
	for {
		l.mu.Lock()
		text, more := l.data.String(), l.more
		l.mu.Unlock()
		for line := range strings.Lines(text) {
			if !slices.ContainsFunc(words, func(word string) bool { return !strings.Contains(line, word) }) {
				return
			}
		}
		select {
		case <-more:
		case <-late:
			t.Fatalf("nothing was logged with %q:\n%s", words, text)
		}
	}
}

// lines are the lines so far, and fails for one that names a key twice.
func (l *logged) lines(t *testing.T) []map[string]any {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []map[string]any
	for line := range strings.Lines(l.data.String()) {
		var fields map[string]any
		if err := json.Unmarshal([]byte(line), &fields); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		for key := range fields {
			if n := strings.Count(line, `,"`+key+`":`); n > 1 {
				t.Errorf("%q is there %d times: %s", key, n, line)
			}
		}
		all = append(all, fields)
	}
	return all
}

// TestEachLineAboutWorkSaysWhatItIsAbout merges a pull request whose plan fails first, and reads the log of it.
func TestEachLineAboutWorkSaysWhatItIsAbout(t *testing.T) {
	t.Parallel()
	log := newLogged()
	s := newShopOn(t, newWorldThatLogs(t, zerolog.New(log)), nil)
	number := s.open("feature/second", "develop", map[string]string{"infra/second.tf": secondFile})
	s.planned(number, "dev")
	s.checkIs(s.merge(number), "switchyard / apply (dev)", "success")
	s.stop()
	wanted := map[string][]string{
		"plan ended":  {"delivery", "repository", "pull_request", "environment", "operation", "state"},
		"apply ended": {"delivery", "repository", "pull_request", "environment", "operation", "state"},
		"Webhook":     {"delivery", "event"},
	}
	seen := map[string]int{}
	for _, line := range log.lines(t) {
		message, _ := line["message"].(string)
		if message == "apply ended" && line["environment"] != "dev" {
			continue // not of the pull request
		}
		for _, key := range wanted[message] {
			if value, ok := line[key]; !ok || value == "" {
				t.Errorf("%q lacks %s: %v", message, key, line)
			}
		}
		seen[message]++
		if _, job := line["job"]; job && line["kind"] != "installation" && line["kind"] != "sweep" {
			if line["repository"] != "acme/shop" && line["repository"] != "acme/network" {
				t.Errorf("a line about a job lacks its repository: %v", line)
			}
		}
	}
	for message := range wanted {
		if seen[message] == 0 {
			t.Errorf("nothing was logged as %q: %v", message, seen)
		}
	}
}
