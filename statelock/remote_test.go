package statelock_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/statelock"
)

// server is one for Terraform's http backend. Like many, it compares nothing when a lock is released.
// https://developer.hashicorp.com/terraform/language/backend/http
type server struct {
	*httptest.Server

	mu    sync.Mutex
	state string
	lock  string                                            // the holder's description; empty: free
	calls []string                                          // method and id
	on    func(w http.ResponseWriter, r *http.Request) bool // answers instead, with mu
}

const (
	holderInfo = `{"ID":"11111111-0000-4000-8000-000000000000","Operation":"OperationTypeApply","Who":"ana@laptop","Created":"2026-11-22T00:00:00Z"}`
	otherInfo  = `{"ID":"22222222-0000-4000-8000-000000000000","Operation":"OperationTypeApply","Who":"bob@laptop","Created":"2026-11-22T00:01:00Z"}`
)

func newServer(t *testing.T) *server {
	t.Helper()
	s := &server{state: stateText(4)}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		body, _ := io.ReadAll(r.Body)
		var info struct{ ID string }
		_ = json.Unmarshal(body, &info)
		s.calls = append(s.calls, strings.TrimSpace(r.Method+" "+info.ID))
		if user, password, _ := r.BasicAuth(); user != "ci" || password != "secret password" || r.URL.Query().Get("token") != "secret token" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		if s.on == nil || !s.on(w, r) {
			s.answer(w, r.Method, string(body))
		}
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *server) answer(w http.ResponseWriter, method, body string) {
	switch {
	case method == http.MethodGet && s.state == "":
		w.WriteHeader(http.StatusNoContent)
	case method == http.MethodGet:
		w.Header().Set("Last-Modified", "Sun, 22 Nov 2026 00:00:00 GMT")
		_, _ = io.WriteString(w, s.state)
	case method == http.MethodPost:
		s.state = body
	case method == "LOCK" && s.lock != "":
		w.WriteHeader(http.StatusLocked)
		_, _ = io.WriteString(w, s.lock)
	case method == "LOCK":
		s.lock = body
	case method == "UNLOCK":
		s.lock = ""
	}
}

// holder is who has the lock.
func (s *server) holder() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var info struct{ ID string }
	_ = json.Unmarshal([]byte(s.lock), &info)
	return info.ID
}

func (s *server) config() map[string]any {
	at := strings.Replace(s.URL, "://", "://ci:secret%20password@", 1) + "/network?token=secret%20token"
	return map[string]any{"address": at, "lock_address": at, "unlock_address": at}
}

func (s *server) open(t *testing.T) statelock.Lock {
	t.Helper()
	lock, err := statelock.Open(t.Context(), statelock.HTTP, s.config(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return lock
}

var holder = operation.LockTask{ID: "11111111-0000-4000-8000-000000000000"}

func TestWhatIsFoundOfALockBehindAServer(t *testing.T) {
	t.Parallel()
	state := operation.StateLock{
		Backend: "http", Lease: operation.LeaseFree, Lineage: "5b1e3c8e-0000-4000-8000-000000000000", Serial: 4, Resources: 4,
		Size: int64(len(stateText(4))), Modified: time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC),
		Tainted: []string{`module.stamp["we"].terraform_data.door[0]`, `terraform_data.gateway["westeurope"]`},
	}
	for name, test := range map[string]struct {
		prepare func(s *server, config map[string]any)
		want    func(found *operation.StateLock)
		calls   string
	}{
		"a free one is taken and given back": {calls: "GET, LOCK ours, UNLOCK ours"},
		"a held one": {
			prepare: func(s *server, _ map[string]any) { s.lock = holderInfo },
			want: func(found *operation.StateLock) {
				found.Lease = operation.LeaseHeld
				found.Info = &operation.LockInfo{ID: holder.ID, Operation: "OperationTypeApply", Who: "ana@laptop", Created: "2026-11-22T00:00:00Z"}
			},
			calls: "GET, LOCK ours",
		},
		"one that a look has left which was killed": {
			prepare: func(s *server, _ map[string]any) {
				s.lock = `{"ID":"33333333-0000-4000-8000-000000000000","Operation":"inspect","Who":"switchyard"}`
			},
			want: func(found *operation.StateLock) {
				found.Lease = operation.LeaseHeld
				found.Info = &operation.LockInfo{ID: "33333333-0000-4000-8000-000000000000", Operation: "inspect", Who: "switchyard"}
				found.Notes = []string{"It is held as by a look of Switchyard at the lock, which has it for a moment only. " +
					"Where it is still held in a few minutes, that look was killed, and nothing works under it."}
			},
			calls: "GET, LOCK ours",
		},
		"a held one whose holder is not said": {
			prepare: func(s *server, _ map[string]any) { s.lock = "locked" },
			want: func(found *operation.StateLock) {
				found.Lease, found.Notes = operation.LeaseHeld, []string{"The server does not say who holds the lock."}
			},
			calls: "GET, LOCK ours",
		},
		"a backend without locks": {
			prepare: func(_ *server, config map[string]any) { delete(config, "lock_address") },
			want: func(found *operation.StateLock) {
				found.Notes = []string{"This backend has no lock_address, so nothing stops two applies at once."}
			},
			calls: "GET",
		},
		"a backend that cannot release": {
			prepare: func(_ *server, config map[string]any) { delete(config, "unlock_address") },
			want: func(found *operation.StateLock) {
				found.Notes = []string{"This backend has no unlock_address, so whether it is locked is not known."}
			},
			calls: "GET",
		},
		"no state yet": {
			prepare: func(s *server, _ map[string]any) { s.state = "" },
			want: func(found *operation.StateLock) {
				*found = operation.StateLock{Backend: "http", Place: found.Place, Lease: operation.LeaseFree, Missing: "state"}
			},
			calls: "GET, LOCK ours, UNLOCK ours",
		},
		"something that is no state": {
			prepare: func(s *server, _ map[string]any) { s.state = "<html>" },
			want: func(found *operation.StateLock) {
				*found = operation.StateLock{
					Backend: "http", Place: found.Place, Lease: operation.LeaseFree, Size: 6, Modified: found.Modified,
					Notes: []string{"What is in the state is not known: it cannot be read as a state."},
				}
			},
			calls: "GET, LOCK ours, UNLOCK ours",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t)
			config := s.config()
			if test.prepare != nil {
				test.prepare(s, config)
			}
			lock, err := statelock.Open(t.Context(), statelock.HTTP, config, nil)
			if err != nil {
				t.Fatal(err)
			}
			found, err := lock.Inspect(t.Context())
			want := state
			want.Place = s.URL + "/network"
			if test.want != nil {
				test.want(&want)
			}
			if diff := cmp.Diff(want, found); err != nil || diff != "" {
				t.Errorf("%v\n%s", err, diff)
			}
			if diff := cmp.Diff(test.calls, s.sequence()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// sequence is what was called, where a lock of ours is "ours", and the holder's "theirs".
func (s *server) sequence() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var calls []string
	for _, call := range s.calls {
		method, id, _ := strings.Cut(call, " ")
		switch id {
		case "":
		case holder.ID:
			method += " theirs"
		default:
			method += " ours"
		}
		calls = append(calls, method)
	}
	return strings.Join(calls, ", ")
}

func TestALockBehindAServerIsReleasedByItsHoldersDescription(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.lock = holderInfo
	broken, err := s.open(t).Break(t.Context(), holder)
	if err != nil || broken.Now == nil || broken.Now.Lease != operation.LeaseFree {
		t.Fatalf("%v, %+v", err, broken)
	}
	broken.Now = nil
	want := operation.Broken{
		How: operation.ReleasedTaken, Cleared: true, Verified: true, NoCopy: "Terraform's http backend makes no copies.",
	}
	if diff := cmp.Diff(want, broken); diff != "" {
		t.Error(diff)
	}
	const calls = "LOCK ours, UNLOCK theirs, LOCK ours, UNLOCK ours"
	if got := s.sequence(); !strings.HasPrefix(got, calls) || s.holder() != "" {
		t.Errorf("%s; held by %q", got, s.holder())
	}
}

func TestAnotherLockBehindAServerIsLeftAlone(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		held string
		task operation.LockTask
		want string
	}{
		"another holder":            {otherInfo, holder, statelock.ErrOther.Error()},
		"no id was given":           {otherInfo, operation.LockTask{}, statelock.ErrOther.Error()},
		"the server says no holder": {"locked", operation.LockTask{}, "it cannot be told from another: release it there"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t)
			s.lock = c.held
			broken, err := s.open(t).Break(t.Context(), c.task)
			if err == nil || !strings.Contains(err.Error(), c.want) || broken.How != operation.ReleasedNot || s.lock != c.held ||
				strings.Contains(s.sequence(), "UNLOCK") {
				t.Errorf("%v, %+v, %s", err, broken, s.sequence())
			}
		})
	}
}

func TestAFreeLockBehindAServerIsOnlyReported(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	broken, err := s.open(t).Break(t.Context(), holder)
	if err != nil || broken.How != operation.ReleasedBefore || !broken.Verified || s.holder() != "" || strings.Contains(s.sequence(), "theirs") {
		t.Errorf("%v, %+v, %s", err, broken, s.sequence())
	}
}

// Each request of a Break is answered with a 503, before it did something and after, and the connection is cut.
func TestABreakBehindAServerThatFailsIsRepeated(t *testing.T) {
	t.Parallel()
	for nth := 1; nth <= 4; nth++ {
		for _, how := range []string{"refused", "lost", "cut"} {
			t.Run(fmt.Sprintf("call %d %s", nth, how), func(t *testing.T) {
				t.Parallel()
				s := newServer(t)
				s.lock = holderInfo
				calls := 0
				s.on = func(w http.ResponseWriter, r *http.Request) bool {
					if calls++; calls != nth {
						return false
					}
					if how != "refused" { // the server does it, and the answer is lost
						switch {
						case r.Method == "UNLOCK":
							s.lock = ""
						case s.lock == "":
							s.lock = strings.Replace(otherInfo, "22222222-0000-4000-8000-000000000000", idOf(s.calls), 1)
						}
					}
					if how == "cut" {
						panic(http.ErrAbortHandler)
					}
					w.WriteHeader(http.StatusServiceUnavailable)
					return true
				}
				broken, err := s.open(t).Break(t.Context(), holder)
				if err != nil || broken.How != operation.ReleasedTaken || !broken.Verified || s.holder() != "" {
					t.Errorf("%v, %+v, %s", err, broken, s.sequence())
				}
			})
		}
	}
}

// idOf is the id in the last call.
func idOf(calls []string) string {
	_, id, _ := strings.Cut(calls[len(calls)-1], " ")
	return id
}

// Somebody takes the lock between our look and the answer to our release of it.
func TestANewcomerBehindAServerKeepsItsLock(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.lock = holderInfo
	s.on = func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Method == "UNLOCK" {
			s.lock = otherInfo
			return true
		}
		return false
	}
	broken, err := s.open(t).Break(t.Context(), holder)
	if err != nil || broken.How != operation.ReleasedTaken || s.lock != otherInfo || broken.Now.Info.Who != "bob@laptop" {
		t.Errorf("%v, %+v", err, broken)
	}
}

func TestAServerThatIsDownTellsNoSecret(t *testing.T) {
	t.Parallel()
	for name, on := range map[string]func(w http.ResponseWriter, r *http.Request) bool{
		"it refuses": func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(http.StatusForbidden); return true },
		"it fails": func(w http.ResponseWriter, _ *http.Request) bool {
			w.WriteHeader(http.StatusInternalServerError)
			return true
		},
		"it sends elsewhere": func(w http.ResponseWriter, r *http.Request) bool {
			http.Redirect(w, r, "http://evil.example/?token=secret+token", http.StatusTemporaryRedirect)
			return true
		},
		"it is gone": func(http.ResponseWriter, *http.Request) bool { panic(http.ErrAbortHandler) },
		"it refuses a lock only": func(w http.ResponseWriter, r *http.Request) bool {
			w.WriteHeader(map[bool]int{true: http.StatusNoContent, false: http.StatusForbidden}[r.Method == http.MethodGet])
			return true
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t)
			s.on = on
			lock := s.open(t)
			_, err := lock.Inspect(t.Context())
			_, second := lock.Break(t.Context(), holder)
			if err == nil || second == nil || strings.Contains(err.Error()+second.Error(), "secret") {
				t.Errorf("%v; %v", err, second)
			}
			if denied := (*statelock.Denied)(nil); strings.Contains(name, "refuses") != errors.As(err, &denied) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestSettingsOfAServerThatAreRefused(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		config map[string]any
		env    map[string]string
		want   string
	}{
		"no address":        {nil, nil, "the backend has no address"},
		"a file":            {map[string]any{"address": "file:///etc/passwd"}, nil, "the backend's address is no http or https address"},
		"a secret in one":   {nil, map[string]string{"TF_HTTP_ADDRESS": "http://a b:secret@x"}, "the backend's address is no http or https address"},
		"no certificate":    {map[string]any{"address": "http://x", "client_ca_certificate_pem": "secret"}, nil, "client_ca_certificate_pem has no certificate"},
		"half a key pair":   {map[string]any{"address": "http://x", "client_private_key_pem": "secret"}, nil, "are no pair"},
		"another file of c": {map[string]any{"address": "http://x"}, map[string]string{"SSL_CERT_FILE": "/nonexistent"}, "read SSL_CERT_FILE"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := statelock.Open(t.Context(), statelock.HTTP, c.config, c.env)
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "secret") {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestAServersSettingsComeFromTheEnvironment(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.lock = holderInfo
	at := s.URL + "/network?token=secret%20token"
	lock, err := statelock.Open(t.Context(), statelock.HTTP, map[string]any{"address": nil, "username": nil}, map[string]string{
		"TF_HTTP_ADDRESS": at, "TF_HTTP_LOCK_ADDRESS": at, "TF_HTTP_UNLOCK_ADDRESS": at, "TF_HTTP_LOCK_METHOD": "LOCK",
		"TF_HTTP_USERNAME": "ci", "TF_HTTP_PASSWORD": "secret password",
	})
	if err != nil {
		t.Fatal(err)
	}
	if found, err := lock.Inspect(t.Context()); err != nil || found.Lease != operation.LeaseHeld {
		t.Errorf("%v, %+v", err, found)
	}
}

func TestALockOfAnotherBackendIsNotLookedAt(t *testing.T) {
	t.Parallel()
	_, err := statelock.Open(t.Context(), "s3", nil, nil)
	if err == nil || !strings.Contains(err.Error(), `"s3"`) || !strings.Contains(err.Error(), "terraform force-unlock") {
		t.Errorf("got %v", err)
	}
}
