package job

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/switchyard-dev/switchyard/operation"
)

// modulesPath is below a server's address.
const modulesPath = "/api/job/modules"

// inputModulesToken is a secret that reads the repositories of private modules, for jobs that cannot ask a server for one.
const inputModulesToken = "modules-token"

// tokenForm is what a token of GitHub looks like: no character of it ends a header or a line.
// https://github.blog/engineering/platform-security/behind-githubs-new-authentication-token-formats/
var tokenForm = regexp.MustCompile(`^[A-Za-z0-9_.-]{20,1000}$`)

// ModuleToken is a server's answer to a job that asks for a token for private modules.
type ModuleToken struct {
	Repositories []string `json:"repositories"`
	Token        string   `json:"token"`
}

// modules lets init fetch the private repositories that the configuration of the default branch lists: by a secret that the workflow
// gives, or by a token that the server makes for this job. git gets it by variables of init alone: they are in no file and no argv,
// and no code of the configuration runs in init.
func (p Parts) modules(ctx context.Context, task *operation.Task, repositories []string) error {
	if len(repositories) == 0 {
		return nil
	}
	token, err := p.modulesToken(ctx, *task)
	if err != nil {
		return fmt.Errorf("get a token for private modules: %w", err)
	}
	if token == "" {
		p.note("notice", "The configuration lists private modules, and this job has no token for them: no server that it can ask, and no input "+
			inputModulesToken+".")
		return nil
	}
	basic := base64.StdEncoding.EncodeToString([]byte("x-access-token:" + token))
	for _, secret := range []string{token, basic} {
		// https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands#masking-a-value-in-a-log
		_, _ = fmt.Fprintf(p.Out, "::add-mask::%s\n", secret)
	}
	task.Mask = append(slices.Clone(task.Mask), regexp.QuoteMeta(token), regexp.QuoteMeta(basic))
	task.InitEnv = gitAccess(p.Machine.Web, repositories, basic)
	return nil
}

// modulesToken is the token; "" where nobody gives one.
func (p Parts) modulesToken(ctx context.Context, task operation.Task) (string, error) {
	if given := p.Env.input(inputModulesToken); given != "" {
		if !tokenForm.MatchString(given) {
			return "", fmt.Errorf("input %s is not a token of GitHub", inputModulesToken)
		}
		return given, nil
	}
	server := cmp.Or(p.Env.input(inputServer), task.Job.Server)
	if server == "" {
		return "", nil
	}
	audience, err := serverAddress(server)
	if err != nil {
		return "", err
	}
	if p.Machine.Identity.Address == "" || p.Machine.Identity.Secret == "" {
		return "", fmt.Errorf("this job cannot prove to the server %s which job it is: give it the permission `id-token: write`", quote(audience))
	}
	body, err := json.Marshal(Confirmation{Operation: task.Operation, Attempt: task.Attempt, Launch: task.Launch})
	if err != nil {
		return "", fmt.Errorf("encode the question: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, confirmLimit)
	defer cancel()
	var last error
	for try := range confirmTries {
		if try > 0 {
			select {
			case <-ctx.Done():
				return "", fmt.Errorf("the server %s did not answer in time: %w", audience, last)
			case <-p.Clock.After(confirmEvery):
			}
		}
		token, final, err := p.askForModules(ctx, audience, body)
		if err == nil || final {
			return token, err
		}
		last = err
	}
	return "", last
}

// askForModules asks the server once. final says that another try would not help.
func (p Parts) askForModules(ctx context.Context, server string, body []byte) (token string, final bool, err error) {
	identity, err := p.GitHub.IdentityToken(ctx, p.Machine.Identity.Address, p.Machine.Identity.Secret, server)
	if err != nil {
		return "", false, err //nolint:wrapcheck // says what was asked
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, server+modulesPath, bytes.NewReader(body))
	if err != nil {
		return "", true, fmt.Errorf("make the question: %w", err)
	}
	request.Header.Set("Authorization", "Bearer "+identity)
	request.Header.Set("Content-Type", "application/json")
	client := http.Client{ // an identity is not sent on
		Transport: p.Network, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	response, err := client.Do(request)
	if err != nil {
		return "", false, fmt.Errorf("ask the server: %w", err)
	}
	defer func() { err = errors.Join(err, response.Body.Close()) }()
	data, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return "", false, fmt.Errorf("read the server's answer: %w", err)
	}
	if response.StatusCode != http.StatusOK {
		var denial Denial
		_ = json.Unmarshal(data, &denial) // what is no such answer has no reason
		reason := clip(p.withoutToken(strings.ReplaceAll(cmp.Or(denial.Reason, "it answers "+response.Status), identity, "***")))
		later := response.StatusCode == http.StatusTooManyRequests || response.StatusCode >= http.StatusInternalServerError
		return "", !later, fmt.Errorf("the server %s gives none: %s", server, reason)
	}
	var answer ModuleToken
	if err := json.Unmarshal(data, &answer); err != nil || answer.Token != "" && !tokenForm.MatchString(answer.Token) {
		return "", true, fmt.Errorf("the server %s gives no token of GitHub", server) // its answer may hold one: not repeated
	}
	return answer.Token, true, nil
}

// gitAccess are the variables by which git sends a header to these repositories and to nothing else, and fetches them by HTTPS also
// where a module's source says SSH.
// https://git-scm.com/docs/git-config#ENVIRONMENT, https://git-scm.com/docs/git-config#Documentation/git-config.txt-httpurl
func gitAccess(web string, repositories []string, basic string) map[string]string {
	web = strings.TrimRight(web, "/")
	_, host, _ := strings.Cut(web, "://")
	var pairs [][2]string
	for _, name := range repositories {
		address := web + "/" + name
		for _, form := range []string{address, address + ".git"} { // git matches whole segments of a path
			pairs = append(pairs, [2]string{"http." + form + ".extraHeader", "Authorization: Basic " + basic})
		}
		for _, form := range []string{"ssh://git@" + host + "/" + name, "git@" + host + ":" + name} { // git matches any beginning
			pairs = append(pairs, [2]string{"url." + address + ".git.insteadOf", form + ".git"})
		}
	}
	env := map[string]string{"GIT_CONFIG_COUNT": strconv.Itoa(len(pairs)), "GIT_TERMINAL_PROMPT": "0"}
	for i, pair := range pairs {
		env["GIT_CONFIG_KEY_"+strconv.Itoa(i)], env["GIT_CONFIG_VALUE_"+strconv.Itoa(i)] = pair[0], pair[1]
	}
	return env
}
