package job

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

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

// Modules is access to private modules, for init alone: it is in no file and no argv, and no code of the configuration runs in init.
type Modules struct {
	env     map[string]string // by which git sends the token
	secrets []string
}

// Modules gets access to the private repositories that the configuration of the default branch lists: by a secret that the workflow
// gives, or by a token that the server makes for this job. It tells GitHub's runner what to mask, which has to listen.
func (p Parts) Modules(ctx context.Context, task operation.Task, repositories []string) (Modules, error) {
	if len(repositories) == 0 {
		return Modules{}, nil
	}
	token, err := p.modulesToken(ctx, task)
	if err != nil {
		return Modules{}, fmt.Errorf("get a token for private modules: %w", err)
	}
	if token == "" {
		p.note("notice", "The configuration lists private modules, and this job has no token for them: no server that it can ask, and no input "+
			inputModulesToken+".")
		return Modules{}, nil
	}
	basic := base64.StdEncoding.EncodeToString([]byte("x-access-token:" + token))
	for _, secret := range []string{token, basic} {
		// https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands#masking-a-value-in-a-log
		_, _ = fmt.Fprintf(p.Out, "::add-mask::%s\n", secret)
	}
	return Modules{env: gitAccess(p.Machine.Web, repositories, basic), secrets: []string{token, basic}}, nil
}

// give gives that access to a task.
func (m Modules) give(task *operation.Task) {
	task.Mask, task.InitEnv = slices.Clone(task.Mask), m.env
	for _, secret := range m.secrets {
		task.Mask = append(task.Mask, regexp.QuoteMeta(secret))
	}
}

// modulesToken is the token; "" where nobody gives one.
func (p Parts) modulesToken(ctx context.Context, task operation.Task) (string, error) {
	if given := p.Env.input(inputModulesToken); given != "" {
		if !tokenForm.MatchString(given) {
			return "", fmt.Errorf("input %s is not a token of GitHub", inputModulesToken)
		}
		return given, nil
	}
	if task.Job == nil { // no server has dispatched this job
		return "", nil
	}
	server := cmp.Or(p.Env.input(inputServer), task.Job.Server)
	if server == "" {
		return "", nil
	}
	audience, err := serverAddress(server)
	if err != nil {
		return "", err
	}
	if !p.Machine.Identity.given() {
		return "", fmt.Errorf("this job cannot prove to the server %s which job it is: give it the permission `id-token: write`", quote(audience))
	}
	data, err := p.askServer(ctx, audience, modulesPath, task)
	if err != nil {
		return "", fmt.Errorf("the server %s gives none: %w", audience, err)
	}
	var answer ModuleToken
	if err := json.Unmarshal(data, &answer); err != nil || answer.Token != "" && !tokenForm.MatchString(answer.Token) {
		return "", fmt.Errorf("the server %s gives no token of GitHub", audience) // its answer may hold one: not repeated
	}
	if p.lent != nil {
		*p.lent = answer.Token
	}
	return answer.Token, nil
}

// giveBackWithin bounds how long a job waits for GitHub to end a token. It ends by itself an hour after it was made.
const giveBackWithin = 5 * time.Second

// giveBack ends the token that a server has lent to this job: whoever finds it later has nothing.
func (p Parts) giveBack(ctx context.Context) {
	if *p.lent == "" {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), giveBackWithin)
	defer cancel()
	if err := p.GitHub.RevokeToken(ctx, *p.lent); err != nil {
		p.note("notice", "The token for private modules could not be given back ("+err.Error()+"). It ends within the hour.")
	}
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
