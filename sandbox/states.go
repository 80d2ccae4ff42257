package sandbox

import (
	"bytes"
	"crypto/md5" //nolint:gosec // Terraform's checksum of what it sends, no protection
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strconv"
)

// Terraform's http backend, for roots whose state is to stay locked when Terraform is killed, as one in Azure does: the local backend's
// lock ends with its process. States are kept in memory.
// https://developer.hashicorp.com/terraform/language/backend/http
const (
	statesPath = "/_states/"

	maxStates    = 1000
	maxState     = 16 << 20 // bytes of one state
	maxStateLock = 64 << 10 // bytes of what a holder says about itself
)

// stateName is what a state may be called.
var stateName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,199}$`)

// keptState is one state with its lock.
type keptState struct {
	content []byte // nil: there is none
	lock    []byte // what the holder said about itself; nil: nobody holds it
	id      string // of the lock
}

// StateBackend are the settings of Terraform's http backend with which it keeps a state here. A name is of letters, digits, dots,
// hyphens and underscores.
func (s *Sandbox) StateBackend(name string) map[string]string {
	address := s.url + statesPath + name
	settings := map[string]string{"address": address, "lock_address": address, "unlock_address": address}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stateUser != "" {
		settings["username"], settings["password"] = s.stateUser, s.statePassword
	}
	return settings
}

// SetStatePassword has states answer only who gives this user and password; an empty user lets everybody in.
func (s *Sandbox) SetStatePassword(user, password string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stateUser, s.statePassword = user, password
}

// State is a state that Terraform keeps here, and the JSON of who holds its lock; nil where there is none, and where nobody does.
func (s *Sandbox) State(name string) (content, lock []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	kept := s.states[name]
	if kept == nil {
		return nil, nil
	}
	return slices.Clone(kept.content), slices.Clone(kept.lock)
}

// serveState answers one request of Terraform's http backend.
func (s *Sandbox) serveState(w http.ResponseWriter, r *http.Request, name string) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxState))
	if err != nil {
		http.Error(w, "The request is too large.", http.StatusRequestEntityTooLarge)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	user, password, _ := r.BasicAuth()
	switch {
	case !stateName.MatchString(name):
		http.Error(w, "No state may be called that.", http.StatusNotFound)
		return
	case s.stateUser != "" && subtle.ConstantTimeCompare([]byte(user+":"+password), []byte(s.stateUser+":"+s.statePassword)) == 0:
		w.Header().Set("WWW-Authenticate", `Basic realm="states"`)
		http.Error(w, "Who is this?", http.StatusUnauthorized)
		return
	}
	kept := s.states[name]
	if kept == nil {
		kept = &keptState{}
	}
	status, answer := kept.answer(r, body)
	if status == http.StatusOK && r.Method != http.MethodGet {
		if s.states[name] == nil && len(s.states) >= maxStates {
			status, answer = http.StatusInsufficientStorage, []byte("There are too many states.")
		} else {
			s.states[name] = kept
			s.change()
		}
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(answer)))
	w.WriteHeader(status)
	_, _ = w.Write(answer)
}

// answer does what a request asks for. A state that is locked is written by the holder of its lock only.
func (k *keptState) answer(r *http.Request, body []byte) (status int, answer []byte) {
	locked := func(as int) (int, []byte) { return as, slices.Clone(k.lock) }
	switch r.Method {
	case http.MethodGet:
		if k.content == nil {
			return http.StatusNotFound, nil
		}
		return http.StatusOK, slices.Clone(k.content)
	case "LOCK":
		id, ok := lockID(body)
		switch {
		case !ok:
			return http.StatusBadRequest, nil
		case k.lock != nil:
			return locked(http.StatusLocked)
		}
		k.lock, k.id = body, id
		return http.StatusOK, nil
	case "UNLOCK":
		// force-unlock sends nothing: Terraform has no lock of its own then that it could name.
		if id, ok := lockID(body); k.lock != nil && len(bytes.TrimSpace(body)) > 0 && (!ok || id != k.id) {
			return locked(http.StatusConflict)
		}
		k.lock, k.id = nil, ""
		return http.StatusOK, nil
	case http.MethodPost, http.MethodDelete:
		if k.lock != nil && r.URL.Query().Get("ID") != k.id {
			return locked(http.StatusLocked)
		}
		if r.Method == http.MethodDelete {
			k.content = nil
			return http.StatusOK, nil
		}
		sum := md5.Sum(body) //nolint:gosec // as above
		if given := r.Header.Get("Content-MD5"); given != "" && given != base64.StdEncoding.EncodeToString(sum[:]) || !json.Valid(body) {
			return http.StatusBadRequest, nil
		}
		k.content = body
		return http.StatusOK, nil
	default:
		return http.StatusMethodNotAllowed, nil
	}
}

// lockID is the id in what a holder says about itself.
func lockID(body []byte) (string, bool) {
	var info struct {
		ID string `json:"ID"` //nolint:tagliatelle // Terraform's name
	}
	if len(body) > maxStateLock || json.Unmarshal(body, &info) != nil {
		return "", false
	}
	return info.ID, info.ID != ""
}
