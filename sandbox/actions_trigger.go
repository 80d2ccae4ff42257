package sandbox

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/switchyard-dev/switchyard/sandbox/workflow"
)

const (
	workflowsDir = ".github/workflows/"
	// maxInputs is how many inputs a dispatch may have.
	// https://docs.github.com/en/rest/actions/workflows#create-a-workflow-dispatch-event
	maxInputs = 25
)

// trigger is a happening that may start workflows.
type trigger struct {
	repository *Repository
	actor      *account
	event      string
	action     string
	payload    object
}

// work is what the one goroutine of Actions does next: look what a happening starts, or begin a run.
type work struct {
	trigger *trigger
	run     *run
}

// trigger has Actions look at a happening. What a job's token caused starts nothing. The caller holds mu.
// https://docs.github.com/en/actions/how-tos/write-workflows/choose-when-workflows-run/trigger-a-workflow
func (s *Sandbox) trigger(r *Repository, actor *account, event, action string, payload object) {
	if s.actions == nil || r.actions.disabled || r.action || actor == s.actionsBot() {
		return
	}
	if payload["repository"] == nil {
		payload["repository"] = s.repositoryObject(r)
	}
	if payload["sender"] == nil {
		payload["sender"] = s.accountObject(actor)
	}
	if action != "" {
		payload["action"] = action
	}
	s.takeOn(work{trigger: &trigger{repository: r, actor: actor, event: event, action: action, payload: maps.Clone(payload)}})
}

// takeOn hands work to the goroutine of Actions. The caller holds mu.
func (s *Sandbox) takeOn(w work) {
	s.works = append(s.works, w)
	if len(s.works) == 1 {
		close(s.worked)
	}
}

// runActions does one piece of work after the other, in the order in which they came about.
func (s *Sandbox) runActions(ctx context.Context) {
	for {
		s.mu.Lock()
		worked := s.worked
		s.mu.Unlock()
		select {
		case <-worked:
		case <-ctx.Done():
			return
		}
		s.mu.Lock()
		next := s.works[0]
		s.mu.Unlock()
		if next.run != nil {
			s.running.Go(func() { s.drive(ctx, next.run) })
		} else if err := s.startTriggered(ctx, *next.trigger); err != nil && ctx.Err() == nil {
			s.log.Error().Err(err).Str("event", next.trigger.event).Msg("start workflows")
		}
		s.mu.Lock()
		s.works = s.works[1:]
		if len(s.works) == 0 {
			s.worked = make(chan struct{})
		}
		s.change()
		s.mu.Unlock()
	}
}

// Started reports whether all that happened so far has been looked at for workflows that it starts.
func (s *Sandbox) Started() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.works) == 0
}

// startTriggered starts the workflows that the commit in question has for the happening.
func (s *Sandbox) startTriggered(ctx context.Context, t trigger) error {
	r := t.repository
	begun := run{repository: r, event: t.event, actor: t.actor, triggeringActor: t.actor}
	event, err := t.read(ctx, &begun)
	if err != nil || begun.sha == "" {
		return err
	}
	files, err := r.workflowFiles(ctx, begun.sha)
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		file, err := workflow.Parse(files[name])
		if err != nil {
			if t.event == "push" { // GitHub shows a broken file as a failed run of the push that brought it
				broken := begun
				broken.problem = err.Error()
				s.begin(ctx, broken, workflowsDir+name, nil, t.payload)
			}
			continue
		}
		if t.event == "schedule" && !slices.Contains(file.On["schedule"].Crons, Text(t.payload["schedule"])) {
			continue
		}
		if file.Starts(event) {
			s.begin(ctx, begun, workflowsDir+name, file, t.payload)
		}
	}
	return nil
}

// Text is a string, or empty for anything else.
func Text(value any) string {
	text, _ := value.(string)
	return text
}

// read finds out what the happening is about: which commit and ref, and what filters see. Without a commit nothing starts.
func (t trigger) read(ctx context.Context, begun *run) (workflow.Event, error) {
	r := t.repository
	event := workflow.Event{Name: t.event, Action: t.action}
	begun.headRepository = r
	switch t.event {
	case "push":
		begun.ref, begun.sha = Text(t.payload["ref"]), Text(t.payload["after"])
		if begun.sha == zeroSHA {
			begun.sha = ""
		}
		event.Branch, _ = strings.CutPrefix(begun.ref, "refs/heads/")
		if tag, ok := strings.CutPrefix(begun.ref, "refs/tags/"); ok {
			event.Branch, event.Tag = "", tag
		}
		begun.branch = cmp.Or(event.Branch, event.Tag)
		event.Paths = pushedPaths(t.payload)
	case "pull_request":
		return t.readPull(ctx, begun, event)
	case "merge_group":
		group, _ := t.payload["merge_group"].(object)
		begun.ref, begun.sha = Text(group["head_ref"]), Text(group["head_sha"])
		begun.branch = strings.TrimPrefix(begun.ref, "refs/heads/")
		event.Branch = strings.TrimPrefix(Text(group["base_ref"]), "refs/heads/")
	case "schedule", "issue_comment":
		r.sandbox.mu.Lock()
		begun.branch, begun.sha = r.defaultBranch, r.branches[r.defaultBranch]
		r.sandbox.mu.Unlock()
		begun.ref = "refs/heads/" + begun.branch
	}
	begun.headSHA = begun.sha
	return event, nil
}

// readPull is of a pull request, whose workflows are those of its test merge. With conflicts there is none, and nothing starts.
func (t trigger) readPull(ctx context.Context, begun *run, event workflow.Event) (workflow.Event, error) {
	r := t.repository
	number, _ := t.payload["number"].(int)
	r.sandbox.mu.Lock()
	thread, err := r.pullNumber(number)
	if err == nil {
		head := thread.pull.head
		begun.branch, begun.headRef, begun.headSHA = head.branch, head.branch, head.sha
		begun.headRepository, begun.fork, begun.pulls = head.repository, head.repository != r, []int{number}
		begun.baseRef = thread.pull.base.branch
	}
	r.sandbox.mu.Unlock()
	if err != nil {
		return event, err
	}
	event.Branch = begun.baseRef
	begun.ref = fmt.Sprintf("refs/pull/%d/merge", number)
	sha, err := r.sandbox.git.resolve(ctx, r.dir, begun.ref)
	if errors.Is(err, errNoSuchObject) {
		return event, nil
	}
	begun.sha = sha
	if err == nil {
		event.Paths, err = r.sandbox.git.changedPaths(ctx, r.dir, sha+"^1", sha)
	}
	return event, err
}

// changedPaths lists what differs between two commits.
func (g gitTool) changedPaths(ctx context.Context, dir, from, to string) ([]string, error) {
	out, err := g.run(ctx, gitCall{dir: dir, args: []string{"diff", "--name-only", "--no-renames", "--no-ext-diff", "-z", from, to}})
	return strings.FieldsFunc(string(out), func(c rune) bool { return c == 0 }), err
}

// pushedPaths are all paths that the commits of a push change.
func pushedPaths(payload object) []string {
	var paths []string
	commits, _ := payload["commits"].([]object)
	for _, c := range commits {
		for _, key := range []string{"added", "modified", "removed"} {
			list, _ := c[key].([]string)
			paths = append(paths, list...)
		}
	}
	return paths
}

// workflowFiles reads the workflow files of a commit, by the name of the file.
func (r *Repository) workflowFiles(ctx context.Context, sha string) (map[string][]byte, error) {
	git := r.sandbox.git
	entries, err := git.entries(ctx, r.dir, sha, workflowsDir)
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{}
	for _, entry := range entries {
		if extension := path.Ext(entry.path); entry.kind != "blob" || extension != ".yml" && extension != ".yaml" {
			continue
		}
		if files[path.Base(entry.path)], err = git.blob(ctx, r.dir, entry.sha); err != nil {
			return nil, err
		}
	}
	return files, nil
}

// begin makes a run, tells the App and has it driven.
func (s *Sandbox) begin(ctx context.Context, begun run, file string, parsed *workflow.Workflow, payload object) *run {
	r := begun.repository
	commit, err := s.git.log(ctx, r.dir, cmp.Or(begun.headSHA, begun.sha), 1)
	s.mu.Lock()
	defer s.mu.Unlock()
	made := begun
	made.id, made.suite, made.attempt = s.nextID(), s.nextID(), 1
	made.workflow, made.file = r.workflow(file, parsed), parsed
	made.workflow.runs++
	made.number = made.workflow.runs
	made.created, made.started, made.updated, made.status = s.now(), s.now(), s.now(), queued
	made.title = made.workflow.name
	if err == nil && len(commit) > 0 {
		made.commit = shortCommit(commit[0])
		made.title, _, _ = strings.Cut(commit[0].message, "\n")
	}
	if made.payload, err = plainJSON(payload); err != nil {
		made.problem = err.Error()
	}
	made.entitle(payload)
	run := &made
	r.actions.runs = append(r.actions.runs, run)
	s.emit(r, made.actor, "workflow_run", "requested", s.runEvent(run))
	s.takeOn(work{run: run})
	s.change()
	return run
}

// entitle names a run as GitHub does, and evaluates run-name.
// https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-syntax#run-name
func (run *run) entitle(payload object) {
	switch run.event {
	case "workflow_dispatch", "schedule", "merge_group":
		run.title = run.workflow.name
	case "pull_request":
		pull, _ := payload["pull_request"].(object)
		run.title = cmp.Or(Text(pull["title"]), run.title)
	case "issue_comment":
		issue, _ := payload["issue"].(object)
		run.title = cmp.Or(Text(issue["title"]), run.title)
	}
	if run.file == nil || run.file.RunName == "" || run.problem != "" {
		return
	}
	name, err := workflow.Interpolate(run.file.RunName, run.values())
	if err != nil {
		run.problem = err.Error()
		return
	}
	run.title = cmp.Or(workflow.Text(name), run.title)
}

// plainJSON is a value as JSON has it.
func plainJSON(value any) (any, error) {
	raw, err := json.Marshal(value)
	if err != nil {
		return nil, fmt.Errorf("write the payload: %w", err)
	}
	var plain any
	if err := json.Unmarshal(raw, &plain); err != nil {
		return nil, fmt.Errorf("read the payload: %w", err)
	}
	return plain, nil
}

// shortCommit is a commit as runs show it.
func shortCommit(c loggedCommit) object {
	return object{
		"id": c.sha, "tree_id": c.tree, "message": c.message, "timestamp": stamp(c.committer.when),
		"author":    object{"name": c.author.name, "email": c.author.email},
		"committer": object{"name": c.committer.name, "email": c.committer.email},
	}
}

// dispatch starts a workflow by hand or by the API. The reply is a refusal, in GitHub's words.
// https://docs.github.com/en/rest/actions/workflows#create-a-workflow-dispatch-event
func (r *Repository) dispatch(ctx context.Context, actor *account, name, ref string, inputs map[string]any) (*run, *reply) {
	s := r.sandbox
	refuse := func(status int, words string, arguments ...any) (*run, *reply) {
		p := problem(status, fmt.Sprintf(words, arguments...))
		return nil, &p
	}
	s.mu.Lock()
	disabled := s.actions == nil || r.actions.disabled
	barred := len(r.actions.allowed) > 0 &&
		!slices.ContainsFunc(r.actions.allowed, func(login string) bool { return strings.EqualFold(login, actor.login) })
	defaultSHA := r.branches[r.defaultBranch]
	s.mu.Unlock()
	switch {
	case disabled:
		return refuse(http.StatusForbidden, "GitHub Actions is disabled for this repository.")
	case len(inputs) > maxInputs:
		return refuse(http.StatusUnprocessableEntity, "Invalid request.\n\nNo more than %d properties are allowed.", maxInputs)
	}
	if _, err := r.learn(ctx, defaultSHA); err != nil {
		return refuse(http.StatusInternalServerError, "git failed")
	}
	s.mu.Lock()
	entry := r.workflowNamed(name)
	off := entry != nil && entry.disabled
	s.mu.Unlock()
	if entry == nil || !r.has(ctx, defaultSHA, entry.path) {
		return refuse(http.StatusNotFound, "Not Found")
	}
	if barred {
		return refuse(http.StatusForbidden, "%s is not allowed to trigger Actions workflows by 'workflow_dispatch'.", actor.login)
	}
	if off {
		return refuse(http.StatusUnprocessableEntity, "Cannot trigger a 'workflow_dispatch' on a disabled workflow")
	}
	begun, refused := r.dispatched(ctx, ref)
	if refused != nil {
		return nil, refused
	}
	file, found, err := r.parsedAt(ctx, begun.sha, entry.path)
	if err != nil {
		return refuse(http.StatusUnprocessableEntity, "failed to parse workflow: %s", err)
	}
	trigger, dispatchable := workflow.Trigger{}, false
	if found {
		trigger, dispatchable = file.On["workflow_dispatch"]
	}
	if !dispatchable {
		return refuse(http.StatusUnprocessableEntity, "Workflow does not have 'workflow_dispatch' trigger")
	}
	typed, err := readInputs(trigger.Inputs, inputs)
	if err != nil {
		return refuse(http.StatusUnprocessableEntity, "%s", err)
	}
	begun.actor, begun.triggeringActor, begun.inputs = actor, actor, typed
	return s.begin(ctx, begun, entry.path, file, r.dispatchPayload(actor, entry.path, begun.ref, typed)), nil
}

// dispatched resolves the ref of a dispatch: a branch or a tag, never a commit.
func (r *Repository) dispatched(ctx context.Context, ref string) (run, *reply) {
	short := strings.TrimPrefix(strings.TrimPrefix(ref, "refs/heads/"), "refs/tags/")
	for _, kind := range []string{"refs/heads/", "refs/tags/"} {
		full := kind + short
		if strings.HasPrefix(ref, "refs/") && full != ref {
			continue
		}
		if sha, err := r.sandbox.git.resolve(ctx, r.dir, full); err == nil {
			return run{
				repository: r, event: "workflow_dispatch", ref: full, branch: short, sha: sha, headSHA: sha, headRepository: r,
			}, nil
		}
	}
	p := problem(http.StatusUnprocessableEntity, "No ref found for: "+ref)
	return run{}, &p
}

func (r *Repository) dispatchPayload(actor *account, file, ref string, inputs map[string]any) object {
	s := r.sandbox
	s.mu.Lock()
	defer s.mu.Unlock()
	texts := object{}
	for name, value := range inputs {
		texts[name] = workflow.Text(value)
	}
	payload := object{
		"inputs": texts, "ref": ref, "workflow": file, "repository": s.repositoryObject(r), "sender": s.accountObject(actor),
	}
	if r.owner.kind == "Organization" {
		payload["organization"] = s.organizationObject(r.owner)
	}
	return payload
}

// learn remembers the workflows of a commit, so that they have ids.
func (r *Repository) learn(ctx context.Context, sha string) (map[string][]byte, error) {
	files, err := r.workflowFiles(ctx, sha)
	if err != nil {
		return nil, err
	}
	r.sandbox.mu.Lock()
	defer r.sandbox.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(files)) {
		parsed, err := workflow.Parse(files[name])
		if err != nil {
			parsed = nil
		}
		r.workflow(workflowsDir+name, parsed)
	}
	return files, nil
}

func (r *Repository) has(ctx context.Context, sha, file string) bool {
	entries, err := r.sandbox.git.entries(ctx, r.dir, sha, file)
	return err == nil && len(entries) == 1
}

// parsedAt reads a workflow file of a commit.
func (r *Repository) parsedAt(ctx context.Context, sha, file string) (*workflow.Workflow, bool, error) {
	entries, err := r.sandbox.git.entries(ctx, r.dir, sha, file)
	if err != nil || len(entries) != 1 || entries[0].kind != "blob" {
		return nil, false, err
	}
	raw, err := r.sandbox.git.blob(ctx, r.dir, entries[0].sha)
	if err != nil {
		return nil, false, err
	}
	parsed, err := workflow.Parse(raw)
	if err != nil {
		return nil, true, fmt.Errorf("%s: %w", file, err)
	}
	return parsed, true, nil
}

// readInputs holds the inputs of a dispatch to what the workflow declares, and fills in the defaults.
func readInputs(declared []workflow.Input, given map[string]any) (map[string]any, error) {
	typed := map[string]any{}
	var unexpected []string
	for name := range given {
		if !slices.ContainsFunc(declared, func(i workflow.Input) bool { return i.Name == name }) {
			unexpected = append(unexpected, name)
		}
	}
	if len(unexpected) > 0 {
		slices.Sort(unexpected)
		return nil, fmt.Errorf("Unexpected inputs provided: %q", unexpected) //nolint:staticcheck // GitHub's words
	}
	for _, input := range declared {
		value, ok := given[input.Name]
		if !ok {
			value = input.Default
		}
		text := workflow.Text(plainInput(value))
		switch {
		case input.Required && text == "":
			return nil, fmt.Errorf("Required input '%s' not provided", input.Name) //nolint:staticcheck // GitHub's words
		case input.Type == "boolean":
			typed[input.Name] = text == "true"
		case input.Type == "number" && text != "":
			n, err := strconv.ParseFloat(text, 64)
			if err != nil {
				return nil, fmt.Errorf("Provided value '%s' for input '%s' is not a number", text, input.Name) //nolint:staticcheck // GitHub's words
			}
			typed[input.Name] = n
		case input.Type == "choice" && text != "" && !slices.Contains(input.Options, text):
			//nolint:staticcheck // GitHub's words
			return nil, fmt.Errorf("Provided value '%s' for input '%s' not in the list of allowed values", text, input.Name)
		default:
			typed[input.Name] = text
		}
	}
	return typed, nil
}

func plainInput(value any) any {
	if n, ok := value.(int); ok {
		return float64(n)
	}
	return value
}
