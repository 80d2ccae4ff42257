// Package act runs the jobs of the GitHub stand-in with act, on this machine and without containers. Tests and the story hand
// it to the stand-in, which has by then applied everything that act does not know: concurrency, environments, permissions.
// It decides nothing about a run, and leaves nothing behind when a job has ended.
// https://github.com/nektos/act
package act

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/switchyard-dev/switchyard/sandbox"
	"github.com/switchyard-dev/switchyard/sandbox/workflow"
)

const (
	// maxLine bounds one line of act's log; the rest of a longer one is lost.
	maxLine = 4 << 20
	// maxOutput is GitHub's limit for the outputs of one job.
	// https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-syntax#jobsjob_idoutputs
	maxOutput  = 1 << 20
	maxProblem = 2000

	// beginning is how act's words at the beginning of a step begin.
	beginning = "\u2b50 Run "
)

// Options say how jobs are run. Program and Dir are required.
type Options struct {
	Program string // act
	Dir     string // where jobs work; made if it does not exist
	Path    string // PATH of the steps; this process's own when empty
	// Environment is what a machine has besides what GitHub gives each job, e.g. the address of a mirror.
	Environment map[string]string
}

// Runner runs jobs with act. It is safe for concurrent use.
type Runner struct {
	options Options
}

// New looks whether act can be run at all.
func New(o Options) (*Runner, error) {
	program, err := filepath.Abs(o.Program)
	if err != nil {
		return nil, fmt.Errorf("find act: %w", err)
	}
	if _, err := os.Stat(program); err != nil {
		return nil, fmt.Errorf("find act: %w", err)
	}
	if _, err := exec.LookPath("node"); err != nil {
		return nil, fmt.Errorf("find node, which actions are run with: %w", err)
	}
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return nil, fmt.Errorf("find the directory of jobs: %w", err)
	}
	o.Program, o.Dir = program, dir
	if o.Path == "" {
		o.Path = os.Getenv("PATH")
	}
	return &Runner{options: o}, nil
}

// RunJob runs the steps of one job. It returns when they have ended, or when it has ended them.
func (r *Runner) RunJob(ctx context.Context, job *sandbox.Job, tell sandbox.Tell) sandbox.JobResult {
	dir := filepath.Join(r.options.Dir, strconv.FormatInt(job.ID, 10))
	result, err := r.run(ctx, dir, job, tell)
	if clean := errors.Join(removeAll(dir), removeAll(job.Outputs)); err == nil && clean != nil {
		err = fmt.Errorf("clean up: %w", clean)
	}
	if err != nil {
		return sandbox.JobResult{Conclusion: "failure", Problem: err.Error()}
	}
	return result
}

func (r *Runner) run(ctx context.Context, dir string, job *sandbox.Job, tell sandbox.Tell) (sandbox.JobResult, error) {
	arguments, err := r.prepare(ctx, dir, job)
	if err != nil {
		return sandbox.JobResult{}, err
	}
	// It is ended as GitHub's runner ends jobs, not killed when ctx ends.
	cmd := exec.Command(r.options.Program, arguments...) //nolint:gosec,noctx // our own arguments
	cmd.Dir = dir
	// Whatever act has in its environment its steps have, too.
	cmd.Env = []string{
		"PATH=" + r.options.Path, "HOME=" + filepath.Join(dir, "home"), "LANG=C.UTF-8", "TMPDIR=" + filepath.Join(dir, "tmp"),
	}
	isolate(cmd)
	var problems bytes.Buffer
	cmd.Stderr = &limited{into: &problems, left: maxProblem}
	output, err := cmd.StdoutPipe()
	if err != nil {
		return sandbox.JobResult{}, fmt.Errorf("start act: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return sandbox.JobResult{}, fmt.Errorf("start act: %w", err)
	}
	ended := make(chan struct{})
	stopped := make(chan bool, 1)
	go func() { stopped <- stop(ctx, cmd.Process.Pid, job, ended) }()
	l := &listener{job: job.Files.JobID, tell: tell}
	readErr := l.read(output)
	waitErr := cmd.Wait()
	close(ended)
	wasStopped := <-stopped
	sweep(job)
	switch {
	case wasStopped:
		l.end("cancelled")
		return sandbox.JobResult{Conclusion: "cancelled", Outputs: r.outputs(job)}, nil
	case readErr != nil:
		return sandbox.JobResult{}, fmt.Errorf("read act's log: %w", readErr)
	case l.result == "" && waitErr != nil:
		return sandbox.JobResult{}, fmt.Errorf("run act: %w: %s", waitErr, strings.TrimSpace(problems.String()+l.complaint))
	case l.result == "":
		return sandbox.JobResult{}, errors.New("act ran no job")
	}
	return sandbox.JobResult{Conclusion: l.result, Outputs: r.outputs(job)}, nil
}

// prepare writes down what act reads, and returns its arguments. Nothing secret is among them.
func (r *Runner) prepare(ctx context.Context, dir string, job *sandbox.Job) ([]string, error) {
	in := func(name string) string { return filepath.Join(dir, name) }
	for _, name := range []string{"home", "tmp", "tree", "machine"} {
		if err := os.MkdirAll(in(name), 0o700); err != nil {
			return nil, fmt.Errorf("make a directory for the job: %w", err)
		}
	}
	if err := os.MkdirAll(job.Outputs, 0o700); err != nil {
		return nil, fmt.Errorf("make a directory for the outputs: %w", err)
	}
	if bytes.Contains(job.Files.Workflow, []byte("uses: ./")) || bytes.Contains(job.Files.Called, []byte("uses: ./")) {
		if err := job.Repository.Export(ctx, job.SHA, in("tree")); err != nil {
			return nil, fmt.Errorf("check out the commit for its own actions: %w", err)
		}
	}
	event, err := json.Marshal(job.Event)
	if err != nil {
		return nil, fmt.Errorf("write the event: %w", err)
	}
	secrets := maps.Clone(job.Secrets)
	secrets["GITHUB_TOKEN"] = job.Token
	files := map[string][]byte{"workflow.yml": job.Files.Workflow, "event.json": event}
	if job.Files.Called != nil {
		files[filepath.Join("tree", workflow.CalledFile)] = job.Files.Called
	}
	for name, values := range map[string]map[string]string{"secrets.yml": secrets, "vars.yml": job.Variables, "env.yml": r.environment(job)} {
		if files[name], err = yaml.Marshal(values); err != nil {
			return nil, fmt.Errorf("write %s: %w", name, err)
		}
	}
	for name, content := range files {
		if err := os.MkdirAll(filepath.Dir(in(name)), 0o700); err != nil {
			return nil, fmt.Errorf("write %s: %w", name, err)
		}
		if err := os.WriteFile(in(name), content, 0o600); err != nil {
			return nil, fmt.Errorf("write %s: %w", name, err)
		}
	}
	return []string{
		job.EventName, "--job", job.Files.JobID, "--json", "--workflows", in("workflow.yml"), "--directory", in("tree"),
		"--eventpath", in("event.json"), "--actor", job.Actor, "--secret-file", in("secrets.yml"), "--var-file", in("vars.yml"),
		"--env-file", in("env.yml"), "--input-file", in("none"), "--platform", workflow.RunnerLabel + "=-self-hosted", "--no-cache-server",
		"--no-skip-checkout", "--action-cache-path", in("machine"), "--rm",
	}, nil
}

// environment is that of the steps. act evaluates expressions in it, which GitHub does not.
func (r *Runner) environment(job *sandbox.Job) map[string]string {
	all := maps.Clone(r.options.Environment)
	if all == nil {
		all = map[string]string{}
	}
	maps.Copy(all, job.Environment)
	for name, value := range job.Runtime {
		all["SANDBOX_"+name] = value // act would give scripts what only actions get
	}
	all["SHA_REF"] = job.SHA                                                              // where act reads github.sha from
	maps.Copy(all, map[string]string{"PAGER": "cat", "GIT_PAGER": "cat", "TERM": "dumb"}) // act gives steps a terminal
	for name, value := range all {
		all[name] = workflow.Literal(value)
	}
	return all
}

// outputs reads what the job's last step wrote down.
func (r *Runner) outputs(job *sandbox.Job) map[string]string {
	all := map[string]string{}
	left := int64(maxOutput)
	for i, name := range job.Names {
		f, err := os.Open(filepath.Join(job.Outputs, strconv.Itoa(i)))
		if err != nil {
			continue // the job was cancelled before
		}
		raw, err := io.ReadAll(io.LimitReader(f, left))
		_ = f.Close() // it was only read
		if err == nil && len(raw) > 0 {
			all[name] = string(raw)
		}
		left -= int64(len(raw))
	}
	return all
}

// limited keeps the beginning of what is written.
type limited struct {
	into *bytes.Buffer
	left int
}

// Write never fails, so that the writer goes on.
func (l *limited) Write(p []byte) (int, error) {
	kept := p[:min(len(p), l.left)]
	l.left -= len(kept)
	l.into.Write(kept)
	return len(p), nil
}

// line is one entry of act's log.
//
//nolint:tagliatelle // act's names
type line struct {
	Level   string   `json:"level"`
	Message string   `json:"msg"`
	JobID   string   `json:"jobID"`
	Result  string   `json:"jobResult"`
	Raw     bool     `json:"raw_output"`
	Stage   string   `json:"stage"`
	Step    string   `json:"step"`
	StepID  []string `json:"stepID"`
	Ended   string   `json:"stepResult"`
	Command string   `json:"command"`
	Content string   `json:"content"`
}

// listener turns act's log into what GitHub shows of a job.
type listener struct {
	job       string
	tell      sandbox.Tell
	step      string
	result    string
	complaint string
}

func (l *listener) read(from io.Reader) error {
	reader := bufio.NewReaderSize(from, maxLine)
	for {
		raw, err := reader.ReadSlice('\n')
		var entry line
		if len(raw) > 0 && json.Unmarshal(raw, &entry) == nil {
			l.hear(entry)
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
		case errors.Is(err, io.EOF), errors.Is(err, os.ErrClosed):
			return nil
		case err != nil:
			return fmt.Errorf("read: %w", err)
		}
	}
}

// hear takes one entry. The jobs that stand in for those before this one are left out, as is the step that reports outputs.
func (l *listener) hear(entry line) {
	if entry.Level == "error" && !entry.Raw {
		l.complaint += "\n" + entry.Message
	}
	if entry.Result != "" && entry.JobID != "" && l.of(entry) {
		l.result = entry.Result
	}
	if entry.JobID == "" || !l.of(entry) || entry.Step == workflow.ReportStep {
		return
	}
	name := stepName(entry)
	top := len(entry.StepID) <= 1
	// act tells of a beginning and an end of every action, whether it has something to do there or not.
	idle := (entry.Stage == "Pre" || entry.Stage == "Post") && l.step != name
	switch {
	case entry.Command == "summary":
		l.tell(sandbox.StepEvent{Step: name, Summary: entry.Content})
	case entry.Command != "":
		if words := commandWords(entry); words != "" {
			l.tell(sandbox.StepEvent{Step: name, Line: words})
		}
	case entry.Raw:
		if idle {
			l.begin(name)
		}
		l.tell(sandbox.StepEvent{Step: name, Line: strings.TrimRight(entry.Message, "\r\n")})
	case idle:
	case entry.Ended != "" && top:
		l.begin(name)
		l.end(entry.Ended)
	case top && strings.HasPrefix(entry.Message, beginning):
		l.begin(name)
	}
}

// commandWords are a workflow command as GitHub's log shows it. act's message is masked, other fields of its entry are not.
// https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands
func commandWords(entry line) string {
	_, command, _ := strings.Cut(strings.TrimSpace(entry.Message), "  ")
	switch entry.Command {
	case "error", "warning", "notice", "group", "endgroup":
		_, words, _ := strings.Cut(strings.TrimPrefix(command, "::"), "::")
		return "##[" + entry.Command + "]" + words
	case "ignored": // between stop-commands and its end
		return command
	default:
		return ""
	}
}

// of reports whether an entry is of the job itself: a called one is logged under its own id.
func (l *listener) of(entry line) bool {
	return entry.JobID == l.job || l.job == workflow.CallerJob
}

func (l *listener) begin(name string) {
	if name == "" || name == l.step {
		return
	}
	l.step = name
	l.tell(sandbox.StepEvent{Step: name})
}

func (l *listener) end(conclusion string) {
	if l.step != "" {
		l.tell(sandbox.StepEvent{Step: l.step, Conclusion: conclusion})
	}
	l.step = ""
}

// stepName is a step as GitHub names it: a script without a name by its first line.
func stepName(entry line) string {
	name, _, more := strings.Cut(entry.Step, "\n")
	if more {
		name = "Run " + name
	}
	if entry.Stage == "Pre" || entry.Stage == "Post" {
		name = entry.Stage + " " + name
	}
	return name
}

// removeAll removes a directory whose parts may have been made read-only.
func removeAll(dir string) error {
	_ = filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		if err == nil && entry.IsDir() {
			_ = os.Chmod(path, 0o700) //nolint:gosec // a directory needs its search bit
		}
		return nil
	})
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("remove %s: %w", dir, err)
	}
	return nil
}
