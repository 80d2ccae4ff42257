package sandbox

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/switchyard-dev/switchyard/sandbox/workflow"
)

const (
	defaultMachines = 2
	maxCalls        = 4 // reusable workflows within each other
	timerLook       = 20 * time.Millisecond
)

// scope is the jobs of one workflow file in a run: those of the run's own file, or those of one that a job calls.
type scope struct {
	file       *workflow.Workflow
	repository *Repository
	path, sha  string
	ref        string // as job_workflow_ref names it
	prefix     string // of the names of its jobs
	depth      int
	called     bool
	inputs     map[string]any
	secrets    func(all map[string]string) map[string]string
	limit      workflow.Permissions // nil for the run's own file
	nodes      map[string]*node
}

// node is one job of a file, which may become several by its matrix.
type node struct {
	def     workflow.Job
	scope   *scope
	result  string // empty until it has ended
	outputs map[string]string
}

func (sc *scope) fill() {
	sc.nodes = map[string]*node{}
	for _, def := range sc.file.Jobs {
		sc.nodes[def.ID] = &node{def: def, scope: sc}
	}
}

// until waits for done, which is asked under mu now and after every change. It reports false when ctx ends first.
func (s *Sandbox) until(ctx context.Context, done func() bool) bool {
	for {
		s.mu.Lock()
		met, changed := done(), s.changes
		s.mu.Unlock()
		if met {
			return true
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return false
		}
	}
}

// drive takes a run from queued to completed.
func (s *Sandbox) drive(ctx context.Context, run *run) {
	ctx, kill := context.WithCancel(ctx)
	defer kill()
	s.mu.Lock()
	run.kill = kill
	if run.forcing {
		kill()
	}
	s.mu.Unlock()
	err := s.driveRun(ctx, run)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		run.problem = err.Error()
		s.log.Warn().Err(err).Int64("run", run.id).Msg("workflow run could not be started")
	}
	run.status, run.updated = completed, s.now()
	run.conclusion = run.outcome()
	for _, m := range slices.Clone(run.members) {
		run.repository.leave(m)
	}
	s.emit(run.repository, run.triggeringActor, "workflow_run", completed, s.runEvent(run))
	s.change()
}

// outcome is the conclusion of a run whose jobs have ended. The caller holds mu.
func (run *run) outcome() string {
	has := func(conclusion string) bool {
		return slices.ContainsFunc(run.jobs, func(j *job) bool { return j.conclusion == conclusion })
	}
	switch {
	case run.cancelling:
		return cancelled
	case run.problem != "" || has(failure):
		return failure
	case has(cancelled):
		return cancelled
	case !has(success) && len(run.jobs) > 0:
		return skipped
	default:
		return success
	}
}

func (s *Sandbox) driveRun(ctx context.Context, run *run) error {
	if run.problem != "" || run.file == nil {
		return errors.New(cmp.Or(run.problem, "the workflow file is not valid"))
	}
	s.mu.Lock()
	values := run.values()
	err := s.join(run, nil, run.file.Concurrency, values)
	s.mu.Unlock()
	if err != nil {
		return err
	}
	admitted := false
	s.until(ctx, func() bool {
		admitted = !slices.ContainsFunc(run.members, func(m *member) bool { return m.job == nil && !run.repository.goes(m) })
		return admitted || run.cancelling
	})
	if !admitted {
		return nil
	}
	sc := &scope{
		file: run.file, repository: run.repository, path: run.workflow.path, sha: run.sha, ref: run.workflowRef(), inputs: run.inputs,
		secrets: func(all map[string]string) map[string]string { return all },
	}
	sc.fill()
	s.driveScope(ctx, run, sc)
	return nil
}

// join has a run or job enter its concurrency group, if it has one. The caller holds mu.
func (s *Sandbox) join(run *run, j *job, c *workflow.Concurrency, values workflow.Values) error {
	if c == nil {
		return nil
	}
	group, err := workflow.Interpolate(c.Group, values)
	if err != nil {
		return fmt.Errorf("evaluate concurrency: %w", err)
	}
	cancelRunning, err := workflow.Interpolate(c.CancelInProgress, values)
	if err != nil {
		return fmt.Errorf("evaluate cancel-in-progress: %w", err)
	}
	cancels := workflow.Text(cancelRunning) == "true"
	switch {
	case workflow.Text(group) == "":
		return nil
	case cancels && c.Queue == "max":
		return errors.New("queue: max and cancel-in-progress cannot be used together")
	}
	m := &member{group: workflow.Text(group), run: run, job: j}
	if j != nil {
		j.member, j.status = m, pending
	} else {
		run.status = pending
	}
	run.repository.enter(m, c.Queue, cancels)
	return nil
}

// driveScope runs all jobs of a file, each when those that it needs have ended.
func (s *Sandbox) driveScope(ctx context.Context, run *run, sc *scope) {
	var all sync.WaitGroup
	for _, def := range sc.file.Jobs {
		all.Go(func() { s.driveNode(ctx, run, sc.nodes[def.ID]) })
	}
	all.Wait()
}

func (s *Sandbox) driveNode(ctx context.Context, run *run, n *node) {
	ready := s.until(ctx, func() bool {
		return !slices.ContainsFunc(n.def.Needs, func(id string) bool { return n.scope.nodes[id].result == "" })
	})
	result, outputs := cancelled, map[string]string(nil)
	if ready {
		result, outputs = s.decideNode(ctx, run, n)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	n.result, n.outputs = result, outputs
	s.change()
}

// decideNode looks whether the job runs at all, and how often.
func (s *Sandbox) decideNode(ctx context.Context, run *run, n *node) (result string, outputs map[string]string) {
	s.mu.Lock()
	values := n.values(run)
	cancelling := run.cancelling
	s.mu.Unlock()
	runs, err := workflow.Condition(n.def.If, values)
	if err != nil {
		return s.fail(run, n, err), nil
	}
	if !runs {
		conclusion := skipped
		if cancelling {
			conclusion = cancelled
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		j := s.addJob(run, n, nil, values)
		s.finish(j, JobResult{Conclusion: conclusion})
		return conclusion, nil
	}
	if n.def.Uses != "" {
		return s.call(ctx, run, n, values)
	}
	combinations, err := n.def.Combinations(values)
	if err == nil && len(combinations) == 0 {
		err = errors.New("Matrix vector does not contain any values") //nolint:staticcheck // GitHub's words
	}
	if err != nil {
		return s.fail(run, n, err), nil
	}
	return s.driveAll(ctx, run, n, values, combinations)
}

// fail ends a job that could not even be evaluated.
func (s *Sandbox) fail(run *run, n *node, err error) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	j := s.addJob(run, n, nil, n.values(run))
	s.finish(j, JobResult{Conclusion: failure, Problem: err.Error()})
	return failure
}

// driveAll runs the jobs of a matrix beside each other. One that fails cancels the others unless fail-fast is false.
func (s *Sandbox) driveAll(
	ctx context.Context, run *run, n *node, values workflow.Values, combinations []map[string]any,
) (result string, outputs map[string]string) {
	var all sync.WaitGroup
	var jobs []*job
	s.mu.Lock()
	for _, combination := range combinations {
		with := with(values, combination)
		jobs = append(jobs, s.addJob(run, n, combination, with))
	}
	s.mu.Unlock()
	for i, j := range jobs {
		all.Go(func() {
			s.driveJob(ctx, n, j, with(values, combinations[i]))
			s.mu.Lock()
			defer s.mu.Unlock()
			if j.conclusion == failure && n.def.FailFast != "false" {
				for _, other := range jobs {
					other.cancel()
				}
				s.change()
			}
		})
	}
	all.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	result, outputs = success, map[string]string{}
	for _, j := range jobs {
		maps.Copy(outputs, j.outputs)
		if j.conclusion == failure || j.conclusion != success && result == success {
			result = j.conclusion
		}
	}
	return result, outputs
}

// with adds a matrix to contexts.
func with(values workflow.Values, combination map[string]any) workflow.Values {
	contexts := maps.Clone(values.Contexts)
	contexts["matrix"] = combination
	return workflow.Values{Contexts: contexts, Status: values.Status}
}

// values are the contexts of a job before it runs. The caller holds mu.
func (n *node) values(run *run) workflow.Values {
	values := run.values()
	inputs := n.scope.inputs
	if inputs == nil {
		inputs = map[string]any{}
	}
	values.Contexts["inputs"] = inputs
	values.Contexts["needs"] = workflow.Context(n.needs())
	values.Contexts["matrix"] = map[string]any{}
	values.Contexts["strategy"] = map[string]any{}
	values.Status = n.status(map[string]bool{})
	values.Status.Cancelled = run.cancelling
	return values
}

// needs are the jobs that this one names, as they ended.
func (n *node) needs() map[string]workflow.Need {
	needs := map[string]workflow.Need{}
	for _, id := range n.def.Needs {
		needs[id] = workflow.Need{Result: n.scope.nodes[id].result, Outputs: n.scope.nodes[id].outputs}
	}
	return needs
}

// status looks at all jobs before this one, as GitHub does for success() and failure().
func (n *node) status(seen map[string]bool) workflow.Status {
	var status workflow.Status
	for _, id := range n.def.Needs {
		if seen[id] {
			continue
		}
		seen[id] = true
		before := n.scope.nodes[id]
		earlier := before.status(seen)
		status.Failed = status.Failed || earlier.Failed || before.result == failure
		status.Skipped = status.Skipped || before.result == skipped || before.result == cancelled
	}
	return status
}

// call runs a reusable workflow as one job of the one that calls it.
// https://docs.github.com/en/actions/how-tos/reuse-automations/reuse-workflows
func (s *Sandbox) call(ctx context.Context, run *run, n *node, values workflow.Values) (result string, outputs map[string]string) {
	sc, err := s.callee(ctx, run, n, values)
	if err != nil {
		return s.fail(run, n, err), nil
	}
	s.driveScope(ctx, run, sc)
	s.mu.Lock()
	defer s.mu.Unlock()
	result = success
	jobs := map[string]any{}
	for id, inner := range sc.nodes {
		if inner.result == failure || inner.result == cancelled && result != failure {
			result = inner.result
		}
		jobs[id] = workflow.Context(map[string]workflow.Need{id: {Result: inner.result, Outputs: inner.outputs}})[id]
	}
	inner := run.values()
	inner.Contexts["jobs"] = jobs
	inner.Contexts["inputs"] = sc.inputs
	outputs = map[string]string{}
	for name, text := range sc.file.Outputs {
		value, err := workflow.Interpolate(text, inner)
		if err != nil {
			run.problem = fmt.Sprintf("output %s of %s: %v", name, sc.path, err)
			return failure, nil
		}
		outputs[name] = workflow.Text(value)
	}
	return result, outputs
}

// callee reads the file that a job calls.
func (s *Sandbox) callee(ctx context.Context, run *run, n *node, values workflow.Values) (*scope, error) {
	if n.scope.depth >= maxCalls {
		return nil, fmt.Errorf("reusable workflows are nested more than %d deep", maxCalls)
	}
	sc := &scope{
		depth: n.scope.depth + 1, called: true, prefix: n.scope.prefix + cmp.Or(n.def.Name, n.def.ID) + " / ",
		repository: n.scope.repository, sha: n.scope.sha, inputs: map[string]any{},
	}
	s.mu.Lock()
	sc.limit = n.permissions(run)
	s.mu.Unlock()
	var err error
	if sc.path, sc.ref, err = s.locate(ctx, sc, n); err != nil {
		return nil, err
	}
	file, found, err := sc.repository.parsedAt(ctx, sc.sha, sc.path)
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, fmt.Errorf("workflow was not found: %s", n.def.Uses)
	}
	trigger, callable := file.On["workflow_call"]
	if !callable {
		return nil, fmt.Errorf("%s has no workflow_call", n.def.Uses)
	}
	given := map[string]any{}
	for name, value := range n.def.With {
		given[name] = value
		if text, ok := value.(string); ok {
			if given[name], err = workflow.Interpolate(text, values); err != nil {
				return nil, fmt.Errorf("evaluate the input %s: %w", name, err)
			}
		}
	}
	if sc.inputs, err = readInputs(trigger.Inputs, given); err != nil {
		return nil, err
	}
	sc.file = file
	sc.secrets = n.handOn()
	sc.fill()
	return sc, nil
}

// locate finds out which repository, commit and file a job calls.
func (s *Sandbox) locate(ctx context.Context, sc *scope, n *node) (path, ref string, err error) {
	if local, ok := strings.CutPrefix(n.def.Uses, "./"); ok {
		_, at, _ := strings.Cut(n.scope.ref, "@")
		return local, n.scope.repository.FullName() + "/" + local + "@" + at, nil
	}
	full, at, tagged := strings.Cut(n.def.Uses, "@")
	parts := strings.SplitN(full, "/", 3)
	if !tagged || len(parts) < 3 {
		return "", "", fmt.Errorf("%q names no reusable workflow", n.def.Uses)
	}
	r, ok := s.Repository(parts[0], parts[1])
	if !ok {
		return "", "", fmt.Errorf("the stand-in has no repository for %s", n.def.Uses)
	}
	sc.repository = r
	commit := at
	if isSHA(at) && r.action && !r.hasCommit(ctx, at) {
		commit = r.DefaultBranch() // what is pinned elsewhere is the newest one here
	}
	if sc.sha, err = s.git.resolve(ctx, r.dir, commit); err != nil {
		return "", "", fmt.Errorf("workflow was not found: %s", n.def.Uses)
	}
	named := at
	for _, kind := range []string{"refs/heads/", "refs/tags/"} {
		if _, err := s.git.resolve(ctx, r.dir, kind+at); err == nil {
			named = kind + at
		}
	}
	return parts[2], full + "@" + named, nil
}

// handOn are the secrets that a called workflow gets.
func (n *node) handOn() func(map[string]string) map[string]string {
	outer, def := n.scope.secrets, n.def
	return func(all map[string]string) map[string]string {
		all = outer(all)
		if def.Inherit {
			return all
		}
		handed := map[string]string{}
		secrets := map[string]any{}
		for name, value := range all {
			secrets[name] = value
		}
		for name, text := range def.Secrets {
			value, err := workflow.Interpolate(text, workflow.Values{Contexts: map[string]any{"secrets": secrets}})
			if err == nil {
				handed[name] = workflow.Text(value)
			}
		}
		return handed
	}
}

// permissions are what the token of the job may do. The caller holds mu.
func (n *node) permissions(run *run) workflow.Permissions {
	// What a repository gives where its workflows do not say is reading since 2023.
	standard := workflow.Permissions{"contents": "read", "packages": "read"}
	limit := n.scope.limit
	if run.fork {
		limit = workflow.Permissions{"*": "read"}
	}
	if n.scope.called && n.def.Permissions == nil && n.scope.file.Permissions == nil {
		standard = n.scope.limit
	}
	return workflow.Grant(n.def.Permissions, n.scope.file.Permissions, standard, limit)
}

// addJob makes a job known. The caller holds mu.
func (s *Sandbox) addJob(run *run, n *node, matrix map[string]any, values workflow.Values) *job {
	j := &job{
		id: s.nextID(), run: run, key: n.def.ID, matrix: matrix, status: queued, gentle: make(chan struct{}),
		calledPath: n.scope.ref, calledSHA: n.scope.sha, created: s.now(), started: s.now(), permissions: n.permissions(run),
	}
	name, err := workflow.Interpolate(n.def.Name, values)
	if err != nil {
		j.problem = err.Error()
	}
	j.name = cmp.Or(workflow.Text(name), n.def.ID)
	if len(matrix) > 0 && n.def.Name == "" {
		j.name += " (" + matrixWords(matrix) + ")"
	}
	j.name = n.scope.prefix + j.name
	if run.cancelling {
		j.cancel()
	}
	run.jobs = append(run.jobs, j)
	s.checkOf(j)
	run.refresh()
	s.change()
	return j
}

func matrixWords(matrix map[string]any) string {
	words := make([]string, 0, len(matrix))
	for _, key := range slices.Sorted(maps.Keys(matrix)) {
		words = append(words, workflow.Text(matrix[key]))
	}
	return strings.Join(words, ", ")
}
