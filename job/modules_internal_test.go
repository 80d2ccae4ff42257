package job

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/terraform"
)

const moduleToken = "ghs_0123456789abcdefghij"

// asking is a job that asks a server for private modules.
func asking(t *testing.T, answer http.HandlerFunc, inputs map[string]string) (Parts, operation.Task, *bytes.Buffer) {
	t.Helper()
	world, task, log := newWorld(), applyTask(), &bytes.Buffer{}
	if answer != nil {
		server := httptest.NewServer(answer)
		t.Cleanup(server.Close)
		task.Job.Server = server.URL
	}
	return Parts{
		Env: func(name string) (string, bool) { value, ok := inputs[name]; return value, ok }, Machine: world.machine, GitHub: world,
		Clock: clockwork.NewRealClock(), Out: log,
	}, task, log
}

// haveModules gives a task access to private modules.
func (p Parts) haveModules(ctx context.Context, task *operation.Task, repositories []string) error {
	modules, err := p.Modules(ctx, *task, repositories)
	modules.give(task)
	return err
}

func TestInitGetsATokenForPrivateModules(t *testing.T) {
	t.Parallel()
	gives := func(w http.ResponseWriter, r *http.Request) {
		var asked Confirmation
		if err := json.NewDecoder(r.Body).Decode(&asked); err != nil || asked != (Confirmation{5, 2, "launched-once"}) ||
			r.URL.Path != "/api/job/modules" || !strings.HasPrefix(r.Header.Get("Authorization"), "Bearer ey") {
			t.Errorf("%s %+v, %v", r.URL, asked, err)
		}
		_, _ = w.Write([]byte(`{"repositories":["acme/stamp"],"token":"` + moduleToken + `","expires_at":"2026-11-21T13:00:00Z"}`))
	}
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		inputs map[string]string
	}{
		"from the server":               {gives, nil},
		"from a secret of the workflow": {nil, map[string]string{"INPUT_MODULES_TOKEN": moduleToken}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, task, log := asking(t, c.answer, c.inputs)
			if err := p.haveModules(t.Context(), &task, []string{"acme/stamp", "acme/network"}); err != nil {
				t.Fatal(err)
			}
			basic := base64.StdEncoding.EncodeToString([]byte("x-access-token:" + moduleToken))
			want := "::add-mask::" + moduleToken + "\n::add-mask::" + basic + "\n"
			if log.String() != want {
				t.Errorf("the log is %q", log)
			}
			for _, secret := range []string{moduleToken, basic} {
				masked := false
				for _, mask := range task.Mask {
					masked = masked || regexp.MustCompile(mask).MatchString("x"+secret+"y")
				}
				data, err := json.Marshal(task)
				if !masked || err != nil || bytes.Contains(bytes.ReplaceAll(data, []byte(regexp.QuoteMeta(secret)), nil), []byte(secret)) {
					t.Errorf("the secret is not masked, or in the task: %v", err)
				}
			}
			for name := range task.Env {
				t.Errorf("Terraform sees %s", name)
			}
			gitSays(t, task.InitEnv, map[string]string{
				"https://github.com/acme/stamp":                  "Authorization: Basic " + basic,
				"https://github.com/acme/stamp.git":              "Authorization: Basic " + basic,
				"https://github.com/acme/network.git":            "Authorization: Basic " + basic,
				"https://github.com/acme/stamp-2.git":            "",
				"https://github.com/acme":                        "",
				"https://github.com.evil.example/acme/stamp.git": "",
				"http://github.com/acme/stamp.git":               "",
			})
		})
	}
}

// gitSays asks git itself which header it sends where.
func gitSays(t *testing.T, env, want map[string]string) {
	t.Helper()
	for address, header := range want {
		cmd := exec.CommandContext(t.Context(), "git", "config", "--get-urlmatch", "http.extraHeader", address)
		cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "GIT_CONFIG_NOSYSTEM=1"}
		for name, value := range env {
			cmd.Env = append(cmd.Env, name+"="+value)
		}
		out, _ := cmd.Output() // there is none: status 1
		if got := strings.TrimSpace(string(out)); got != header {
			t.Errorf("to %s git sends %q", address, got)
		}
	}
}

func TestATokenForPrivateModulesIsRefused(t *testing.T) {
	t.Parallel()
	says := func(status int, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "https://evil.example/")
			w.WriteHeader(status)
			_, _ = w.Write([]byte(body))
		}
	}
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		inputs map[string]string
		change func(*Parts, *operation.Task)
		want   string
	}{
		"by a server that says why":                {says(http.StatusConflict, `{"reason":"apply 5 (prod) does not run any more."}`), nil, nil, "does not run any more"},
		"by a server that sends the job elsewhere": {says(http.StatusTemporaryRedirect, ""), nil, nil, "307"},
		"as a token that ends a header":            {says(http.StatusOK, `{"token":"ghs_0123456789abcdefghij\r\nHost: evil"}`), nil, nil, "gives no token of GitHub"},
		"as an answer that is no JSON":             {says(http.StatusOK, "hello"), nil, nil, "gives no token of GitHub"},
		"as a secret with a blank":                 {nil, map[string]string{"INPUT_MODULES_TOKEN": "hello you, this is a secret"}, nil, "not a token of GitHub"},
		"where the server is not reached safely": {
			nil, nil, func(_ *Parts, task *operation.Task) { task.Job.Server = "http://switchyard.example.com" }, "https://",
		},
		"where the job cannot say who it is": {
			says(http.StatusOK, "{}"), nil, func(p *Parts, _ *operation.Task) { p.Machine.Identity = Identity{} }, "id-token: write",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, task, log := asking(t, c.answer, c.inputs)
			if c.change != nil {
				c.change(&p, &task)
			}
			err := p.haveModules(t.Context(), &task, []string{"acme/stamp"})
			if err == nil || !strings.Contains(err.Error(), c.want) || task.InitEnv != nil {
				t.Fatalf("it gives %v, %v", err, task.InitEnv)
			}
			if text := err.Error() + log.String(); strings.Contains(text, "this is a secret") || strings.Contains(text, "ghs_") {
				t.Errorf("it tells a secret: %s", text)
			}
		})
	}
	t.Run("and a server that cannot tell now is asked again", func(t *testing.T) {
		t.Parallel()
		asked := make(chan struct{}, confirmTries)
		p, task, _ := asking(t, func(w http.ResponseWriter, _ *http.Request) {
			asked <- struct{}{}
			w.WriteHeader(http.StatusServiceUnavailable)
		}, nil)
		clock := clockwork.NewFakeClock()
		p.Clock = clock
		done := make(chan error, 1)
		go func() { done <- p.haveModules(t.Context(), &task, []string{"acme/stamp"}) }()
		for range confirmTries - 1 {
			<-asked
			if err := clock.BlockUntilContext(t.Context(), 1); err != nil {
				t.Fatal(err)
			}
			clock.Advance(confirmEvery)
		}
		select {
		case err := <-done:
			if err == nil || len(asked) != 1 {
				t.Errorf("it gives %v", err)
			}
		case <-time.After(time.Minute): //nolint:forbidigo // how long a test waits
			t.Fatal("it goes on asking")
		}
	})
	t.Run("and where nobody gives one, it says so", func(t *testing.T) {
		t.Parallel()
		p, task, log := asking(t, nil, nil)
		if err := p.haveModules(t.Context(), &task, []string{"acme/stamp"}); err != nil || task.InitEnv != nil || !strings.Contains(log.String(), "modules-token") {
			t.Errorf("%v %v %q", err, task.InitEnv, log)
		}
	})
	t.Run("and without private modules nobody is asked", func(t *testing.T) {
		t.Parallel()
		p, task, log := asking(t, func(http.ResponseWriter, *http.Request) { t.Error("the server is asked") }, nil)
		if err := p.haveModules(t.Context(), &task, nil); err != nil || task.InitEnv != nil || log.Len() != 0 {
			t.Errorf("%v %v %q", err, task.InitEnv, log)
		}
	})
}

func TestATokenForPrivateModulesIsGivenBackAtTheEnd(t *testing.T) {
	t.Parallel()
	const given = "the end of token ghs_, with the result there: true"
	for name, c := range map[string]struct {
		change func(*step, *Parts)
		want   int
	}{
		"after the result is left": {func(*step, *Parts) {}, 1},
		"when Terraform was stopped": {func(s *step, _ *Parts) {
			s.does = func(_ context.Context, task operation.Task, _ func(context.Context) error) operation.Result {
				return resultOf(task, operation.TargetStopped)
			}
		}, 1},
		"when the job could not even begin": {func(_ *step, p *Parts) {
			p.Find = func(context.Context, terraform.Want) (string, error) {
				return "", errors.New("no Terraform of " + moduleToken)
			}
		}, 1},
		"and where that fails, the job ends as it would have": {func(s *step, _ *Parts) {
			s.endless = errors.New("GitHub answers 500 for " + moduleToken)
		}, 1},
		"but a secret of the workflow stays what it is": {func(_ *step, p *Parts) {
			env := p.Env
			p.Env = func(name string) (string, bool) {
				if name == "INPUT_MODULES_TOKEN" {
					return moduleToken, true
				}
				return env(name)
			}
		}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				_, _ = w.Write([]byte(`{"repositories":["acme/stamp"],"token":"` + moduleToken + `"}`))
			}))
			t.Cleanup(server.Close)
			s, task := newStep(t), applyTask()
			s.config += "modules: [acme/stamp]\n"
			task.Job.Server = server.URL
			parts := s.parts(t, task)
			c.change(s, &parts)
			err := Dispatched(t.Context(), parts)
			if s.endless != nil && (err != nil || !strings.Contains(s.log.String(), "It ends within the hour")) {
				t.Errorf("%v: %s", err, s.log.String())
			}
			ended := 0
			for _, asked := range s.asked {
				if asked == given {
					ended++
				} else if strings.HasPrefix(asked, "the end of token") {
					t.Errorf("too early: %s", asked)
				}
			}
			if ended != c.want {
				t.Errorf("the token was ended %d times, not %d: %q, %v", ended, c.want, s.asked, err)
			}
			// GitHub's runner is told once what to mask; apart from that, nobody sees it.
			if shown := strings.Replace(s.shown(t), "::add-mask::"+moduleToken, "", 1); strings.Contains(shown, moduleToken) {
				t.Errorf("the token is shown:\n%s", shown)
			}
		})
	}
}
