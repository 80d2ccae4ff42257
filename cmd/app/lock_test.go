package main_test

import (
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/switchyard-dev/switchyard/sandbox/azure"
	"github.com/switchyard-dev/switchyard/sandbox/azure/azuretest"
)

// lockServer is one for Terraform's http backend. https://developer.hashicorp.com/terraform/language/backend/http
type lockServer struct {
	*httptest.Server

	mu     sync.Mutex
	lock   string // the holder's description; empty: free
	status int    // of answers that take nothing; 0: none
}

const (
	lockState = `{"version":4,"serial":4,"lineage":"5b1e3c8e-0000-4000-8000-000000000000","outputs":{},"resources":[
{"mode":"managed","type":"terraform_data","name":"gateway","instances":[{"index_key":"westeurope","status":"tainted"},{"index_key":"southeastasia"}]}]}`
	lockHolder = `{"ID":"11111111-0000-4000-8000-000000000000","Operation":"OperationTypeApply","Who":"ana@laptop","Version":"1.11.4",` +
		`"Created":"2026-11-22T00:00:00.5Z"}`
	lockHostile = `{"ID":"1'; rm -rf / #\u001b[2J","Operation":"\u202e","Who":"ana\nThe lock is free.","Created":"` + "`" + `"}`
)

func newLockServer(t *testing.T, lock string, status int) *lockServer {
	t.Helper()
	s := &lockServer{lock: lock, status: status}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		body, _ := io.ReadAll(r.Body)
		switch {
		case s.status != 0:
			w.WriteHeader(s.status)
		case r.Method == http.MethodGet:
			w.Header().Set("Last-Modified", "Sun, 22 Nov 2026 00:00:00 GMT")
			_, _ = io.WriteString(w, lockState)
		case r.Method == "LOCK" && s.lock != "":
			w.WriteHeader(http.StatusLocked)
			_, _ = io.WriteString(w, s.lock)
		case r.Method == "LOCK":
			s.lock = string(body)
		case r.Method == "UNLOCK":
			s.lock = ""
		}
	}))
	t.Cleanup(s.Close)
	return s
}

// initialised makes a directory as `terraform init` leaves it.
func initialised(t *testing.T, data, kind string, config map[string]any) string {
	t.Helper()
	dir := t.TempDir()
	noted, err := json.Marshal(map[string]any{"version": 3, "backend": map[string]any{"type": kind, "config": config, "hash": 1}})
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, data, "terraform.tfstate"), string(noted))
	return dir
}

// changing are parts of what is printed that are others each time.
var changing = []struct{ pattern, with string }{
	{`127\.0\.0\.1:\d+`, "state.example"},
	{"By `[^`]*` at \\S+", "By `cy@host` at 2026-11-22T02:00:00Z"},
	{`0x[0-9A-F]{8,}`, "0x8DC0"},
	{`snapshot (.?)2\d\d\d-[0-9T:.-]+Z`, "snapshot ${1}2026-11-22T02:00:00.0000000Z"},
	{`(modified +|, of )2\d\d\d-[0-9T:-]+Z`, "${1}2026-11-22T00:30:00Z"},
}

func steady(text string) string {
	for _, one := range changing {
		text = regexp.MustCompile(one.pattern).ReplaceAllString(text, one.with)
	}
	return text
}

func TestLockIsShownAndBroken(t *testing.T) {
	t.Parallel()
	const id = "11111111-0000-4000-8000-000000000000"
	breaking := func(args ...string) []string {
		return append([]string{"lock", "break", "--reason", "the runner was lost"}, args...)
	}
	for name, c := range map[string]struct {
		lock   string
		status int
		args   []string
		env    []string
	}{
		"lock-show-free":            {args: []string{"lock", "show"}},
		"lock-show-held":            {lock: lockHolder, args: []string{"lock", "show"}},
		"lock-show-json":            {lock: lockHolder, args: []string{"lock", "show", "--json"}},
		"lock-show-hostile":         {lock: lockHostile, args: []string{"lock", "show"}},
		"lock-show-without-holder":  {lock: "locked", args: []string{"lock", "show"}},
		"lock-show-denied":          {status: http.StatusForbidden, args: []string{"lock", "show"}},
		"lock-show-down":            {status: http.StatusBadGateway, args: []string{"lock", "show"}},
		"lock-show-elsewhere":       {args: []string{"lock", "show", "--chdir", "nowhere"}},
		"lock-show-another-data":    {args: []string{"lock", "show"}, env: []string{"TF_DATA_DIR=data"}},
		"lock-break":                {lock: lockHolder, args: breaking("--lock-id", id, "--yes")},
		"lock-break-free":           {args: breaking("--lock-id", id, "--yes")},
		"lock-break-other":          {lock: lockHostile, args: breaking("--lock-id", id, "--yes")},
		"lock-break-unasked":        {lock: lockHolder, args: breaking("--lock-id", id)},
		"lock-break-changed":        {lock: lockHolder, args: breaking("--lock-id", id, "--etag", "0x1", "--yes")},
		"lock-break-without-holder": {lock: "locked", args: breaking("--lock-id", id, "--yes")},
		"lock-break-no-id":          {args: breaking("--yes")},
		"lock-break-both":           {args: breaking("--lock-id", id, "--empty", "--yes")},
		"lock-break-no-etag":        {args: breaking("--empty", "--yes")},
		"lock-break-no-reason":      {args: []string{"lock", "break", "--lock-id", id, "--yes"}},
		"lock-break-long-reason":    {args: []string{"lock", "break", "--lock-id", id, "--yes", "--reason", strings.Repeat("a", 501)}},
		"lock-break-denied":         {status: http.StatusUnauthorized, args: breaking("--lock-id", id, "--yes")},
		"lock-help":                 {args: []string{"lock", "--help"}},
		"lock-break-help":           {args: []string{"lock", "break", "--help"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := newLockServer(t, c.lock, c.status)
			at := strings.Replace(server.URL, "://", "://ci:secret-password@", 1) + "/prod?token=secret-token"
			data := ".terraform"
			if c.env != nil {
				data = "data"
			}
			dir := initialised(t, data, "http", map[string]any{"address": at, "lock_address": at, "unlock_address": at, "username": nil})
			got := steady(call{dir: dir, env: c.env, args: c.args}.transcript(t))
			if strings.Contains(got, "secret") {
				t.Errorf("a secret is printed: %s", got)
			}
			got = strings.ReplaceAll(got, strings.Repeat("a", 501), "aaa…")
			same(t, filepath.Join("testdata", name+".golden"), got)
		})
	}
}

func TestLockOfWhatIsNoRoot(t *testing.T) {
	t.Parallel()
	local := initialised(t, ".terraform", "local", map[string]any{"path": "states/network.tfstate"})
	write(t, filepath.Join(local, "states", "network.tfstate"), lockState)
	write(t, filepath.Join(local, "states", ".network.tfstate.lock.info"), lockHolder)
	garbage := t.TempDir()
	write(t, filepath.Join(garbage, ".terraform", "terraform.tfstate"), "secret{")
	left := initialised(t, ".terraform", "local", map[string]any{"path": "network.tfstate"})
	write(t, filepath.Join(left, "network.tfstate"), lockState)
	write(t, filepath.Join(left, "errored.tfstate"), strings.Replace(lockState, `"serial":4`, `"serial":5`, 1))
	climbing := initialised(t, ".terraform", "local", nil)
	write(t, filepath.Join(climbing, ".terraform", "environment"), "../../etc")
	large := t.TempDir()
	write(t, filepath.Join(large, ".terraform", "terraform.tfstate"), strings.Repeat("a", 5<<20))
	for name, dir := range map[string]string{
		"lock-show-local":              local,
		"lock-show-left":               left,
		"lock-show-not-initialised":    t.TempDir(),
		"lock-show-garbage":            garbage,
		"lock-show-large":              large,
		"lock-show-climbing-workspace": climbing,
		"lock-show-s3":                 initialised(t, ".terraform", "s3", map[string]any{"bucket": "states"}),
		"lock-show-no-account":         initialised(t, ".terraform", "azurerm", map[string]any{"key": "network-prod"}),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := call{dir: dir, args: []string{"lock", "show"}}.transcript(t)
			got = regexp.MustCompile(`modified +\S+`).ReplaceAllString(got, "modified   2026-11-22T00:00:00Z")
			got = regexp.MustCompile(`, of 2\S+Z`).ReplaceAllString(got, ", of 2026-11-22T00:00:00Z")
			same(t, filepath.Join("testdata", name+".golden"), got)
		})
	}
}

// TestLockInAzureIsShownAndBroken is the whole of it with a lease.
func TestLockInAzureIsShownAndBroken(t *testing.T) {
	t.Parallel()
	options := azuretest.Find(t, top)
	options.Dir = t.TempDir()
	cloud, err := azure.Start(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cloud.Close)
	const id = "11111111-0000-4000-8000-000000000000"
	leased(t, cloud, "network-prod", id, lockHolder)
	leased(t, cloud, "network-test", "22222222-0000-4000-8000-000000000000", "")
	if _, err := cloud.Container().NewBlockBlobClient("network-prod.errored-7").UploadBuffer(t.Context(),
		[]byte(strings.Replace(lockState, `"serial":4`, `"serial":5`, 1)), nil); err != nil {
		t.Fatal(err)
	}
	root := func(key string) string {
		config := map[string]any{}
		for name, value := range cloud.Backend(key) {
			config[name] = value
		}
		return initialised(t, ".terraform", "azurerm", config)
	}
	var env []string
	for name, value := range maps.All(cloud.Env()) {
		env = append(env, name+"="+value)
	}
	prod, test := root("network-prod"), root("network-test")
	lock := func(dir string, args ...string) string {
		got := call{dir: dir, env: env, args: append([]string{"lock"}, args...)}.transcript(t)
		if strings.Contains(got, cloud.Key()) {
			t.Errorf("the key is printed: %s", got)
		}
		return got
	}
	text := lock(prod, "show") + lock(prod, "break", "--lock-id", id, "--reason", "the runner was lost", "--yes") + lock(prod, "show")
	same(t, filepath.Join("testdata", "lock-azure.golden"), steady(text))
	shown := lock(test, "show")
	etag := regexp.MustCompile(`--etag (\S+)`).FindStringSubmatch(shown)
	if etag == nil {
		t.Fatalf("no etag: %s", shown)
	}
	text = shown + lock(test, "break", "--empty", "--etag", etag[1], "--reason", "init was killed", "--yes") + lock(test, "show")
	same(t, filepath.Join("testdata", "lock-azure-empty.golden"), steady(text))

	leased(t, cloud, "network-dev", id, lockHolder)
	dev, command := root("network-dev"), []string{"break", "--lock-id", id, "--reason", "the runner was lost", "--yes"}
	found := regexp.MustCompile(`etag +(\S+)`).FindStringSubmatch(lock(dev, "show"))
	if found == nil {
		t.Fatal("no etag")
	}
	command = append(command, "--etag", found[1]) // as it was explained first, also when it is repeated
	cloud.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Header.Get("X-Ms-Lease-Action") != "release" {
			return false
		}
		w.WriteHeader(http.StatusServiceUnavailable)
		return true
	})
	if text := lock(dev, command...); !strings.Contains(text, "the same command once more") {
		t.Errorf("it is not said what to do when it was cut off: %s", text)
	}
	cloud.Intercept(nil)
	if text := lock(dev, command...) + lock(dev, "show"); !strings.Contains(text, "taken over") || !strings.Contains(text, "The lock is free") {
		t.Errorf("the same command once more does not help: %s", text)
	}
	leased(t, cloud, "network-qa", "33333333-0000-4000-8000-000000000000", "")
	qa := root("network-qa")
	if text := lock(qa, command...) + lock(qa, "show"); !strings.Contains(text, "nothing was done to it") || !strings.Contains(text, "--empty --etag") {
		t.Errorf("a lease that may be anybody's was touched: %s", text)
	}
}
