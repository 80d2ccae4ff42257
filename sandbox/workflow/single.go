package workflow

import (
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Names in the files that Single writes.
const (
	// RunnerLabel is the one label of the jobs in them.
	RunnerLabel = "stand-in"
	// ReportStep is the name of the step that Single adds; it writes each output of the job to a file.
	ReportStep = "Outputs of the job"
	// CalledFile is where Single's second file is read from, in the directory in which the first one runs.
	CalledFile = ".github/workflows/sandbox-called.yml"
	// CallerJob is the id of the job that calls it.
	CallerJob = "caller"
)

// Single says which one job of a workflow a program is to run that knows neither gates nor queues.
type Single struct {
	Job     string
	Event   string
	Matrix  map[string]any  // of this one job
	Needs   map[string]Need // how the jobs ended that it needs
	Called  bool            // the workflow is called by another one …
	Inputs  map[string]any  // … with these inputs
	Outputs string          // directory for the outputs: output N of the job's sorted outputs in file N
	Action  func(uses string) string
}

// Files are a workflow file with just that one job, the id of the job to run, and for a called workflow the file that it calls.
type Files struct {
	Workflow []byte
	JobID    string
	Called   []byte
}

// Single writes the files for one job: what GitHub's server has decided already is taken out, and jobs that this one needs
// are replaced by ones that only have their outputs.
func (w *Workflow) Single(s Single) (Files, error) {
	job, ok := w.Job(s.Job)
	if !ok {
		return Files{}, fmt.Errorf("the workflow has no job %q", s.Job)
	}
	jobs := mapping()
	for _, need := range job.Needs {
		add(jobs, need, stub(s.Needs[need]))
	}
	body, err := w.body(job, s)
	if err != nil {
		return Files{}, err
	}
	add(jobs, job.ID, body)

	file := mapping()
	on := mapping()
	switch {
	case s.Called:
		add(on, "workflow_call", w.inputsOf("workflow_call"))
	case s.Event == "workflow_dispatch":
		add(on, s.Event, w.inputsOf(s.Event))
	default:
		add(on, "push", mapping()) // act runs the job that it is told, whatever the event
	}
	add(file, "name", text(w.Name))
	add(file, "on", on)
	for key, value := range pairs(w.document) {
		if key.Value == "env" || key.Value == "defaults" {
			add(file, key.Value, value)
		}
	}
	add(file, "jobs", jobs)
	raw, err := yaml.Marshal(file)
	if err != nil {
		return Files{}, fmt.Errorf("write the workflow: %w", err)
	}
	if !s.Called {
		return Files{Workflow: raw, JobID: job.ID}, nil
	}
	caller, err := w.caller(s)
	return Files{Workflow: caller, JobID: CallerJob, Called: raw}, err
}

// caller is a workflow that only calls the other one.
func (w *Workflow) caller(s Single) ([]byte, error) {
	call := map[string]any{"uses": "./" + CalledFile, "secrets": "inherit"}
	if with := known(s.Inputs, w.On["workflow_call"].Inputs); len(with) > 0 {
		call["with"] = with
	}
	raw, err := yaml.Marshal(map[string]any{
		"name": w.Name, "on": map[string]any{"push": map[string]any{}}, "jobs": map[string]any{CallerJob: call},
	})
	if err != nil {
		return nil, fmt.Errorf("write the calling workflow: %w", err)
	}
	return raw, nil
}

// known are the values of declared inputs, with no expression in them left to evaluate.
func known(values map[string]any, declared []Input) map[string]any {
	all := map[string]any{}
	for _, input := range declared {
		value, ok := values[input.Name]
		if !ok {
			continue
		}
		if s, isText := value.(string); isText {
			value = Literal(s)
		}
		all[input.Name] = value
	}
	return all
}

// inputsOf is the declaration of an event's inputs, with nothing else of it.
func (w *Workflow) inputsOf(event string) *yaml.Node {
	declared := mapping()
	for key, value := range pairs(w.document) {
		if key.Value != "on" && key.Value != "true" {
			continue
		}
		for name, body := range pairs(value) {
			if name.Value != event {
				continue
			}
			for part, node := range pairs(body) {
				if part.Value == "inputs" || part.Value == "secrets" {
					add(declared, part.Value, node)
				}
			}
		}
	}
	return declared
}

// decided are the keys of a job that were evaluated before it runs.
var decided = []string{
	"if", "needs", "environment", "concurrency", "permissions", "strategy", "runs-on", "name", "outputs", "steps", "continue-on-error",
}

// body is the job with everything decided taken out.
func (w *Workflow) body(job Job, s Single) (*yaml.Node, error) {
	body := mapping()
	add(body, "name", text(job.ID))
	add(body, "runs-on", text(RunnerLabel))
	if len(job.Needs) > 0 {
		add(body, "needs", words(job.Needs))
		add(body, "if", text("always()"))
	}
	if len(s.Matrix) > 0 {
		var combination yaml.Node
		if err := combination.Encode(escaped(s.Matrix)); err != nil {
			return nil, fmt.Errorf("write the matrix: %w", err)
		}
		include := &yaml.Node{Kind: yaml.SequenceNode, Content: []*yaml.Node{&combination}}
		matrix, strategy := mapping(), mapping()
		add(matrix, "include", include)
		add(strategy, "matrix", matrix)
		add(body, "strategy", strategy)
	}
	steps := &yaml.Node{Kind: yaml.SequenceNode}
	for key, value := range pairs(job.node) {
		switch {
		case key.Value == "steps":
			for _, step := range value.Content {
				steps.Content = append(steps.Content, pinned(resolved(step), s.Action))
			}
		case !slices.Contains(decided, key.Value):
			add(body, key.Value, value)
		}
	}
	if len(job.Outputs) > 0 {
		steps.Content = append(steps.Content, report(job, s.Outputs))
	}
	add(body, "steps", steps)
	return body, nil
}

// pinned is a step with the action that it uses replaced as asked.
func pinned(step *yaml.Node, action func(string) string) *yaml.Node {
	changed := mapping()
	for key, value := range pairs(step) {
		if key.Value == "uses" && action != nil {
			value = text(action(value.Value))
		}
		add(changed, key.Value, value)
	}
	return changed
}

// report is a step that writes down the job's outputs, which act itself does not tell.
func report(job Job, directory string) *yaml.Node {
	environment := mapping()
	var script strings.Builder
	for i, name := range job.OutputNames() {
		variable := fmt.Sprintf("SANDBOX_OUTPUT_%d", i)
		add(environment, variable, text(job.Outputs[name]))
		fmt.Fprintf(&script, "printf '%%s' \"$%s\" > '%s/%d'\n", variable, strings.ReplaceAll(directory, "'", `'\''`), i)
	}
	step := mapping()
	add(step, "name", text(ReportStep))
	add(step, "if", text("always()"))
	add(step, "shell", text("sh"))
	add(step, "working-directory", text("/"))
	add(step, "env", environment)
	add(step, "run", text(script.String()))
	return step
}

// OutputNames are the names of the job's outputs, sorted.
func (j Job) OutputNames() []string {
	names := make([]string, 0, len(j.Outputs))
	for name := range j.Outputs {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// stub is a job that ends at once as the real one did. act has no way to end one as cancelled: it is a failure to the steps.
func stub(need Need) *yaml.Node {
	body := mapping()
	add(body, "runs-on", text(RunnerLabel))
	script := ":"
	switch need.Result {
	case "success":
	case "skipped":
		add(body, "if", text("false"))
	default:
		script = "exit 1"
	}
	outputs := mapping()
	for name, value := range need.Outputs {
		add(outputs, name, text(Literal(value)))
	}
	if len(need.Outputs) > 0 {
		add(body, "outputs", outputs)
	}
	step := mapping()
	add(step, "run", text(script))
	add(body, "steps", &yaml.Node{Kind: yaml.SequenceNode, Content: []*yaml.Node{step}})
	return body
}

// Literal writes a text so that no expression in it is evaluated.
func Literal(value string) string {
	if !strings.Contains(value, "${{") {
		return value
	}
	return "${{ '" + strings.ReplaceAll(value, "'", "''") + "' }}"
}

// escaped is a value with each text in it made literal.
func escaped(value any) any {
	switch v := value.(type) {
	case string:
		return Literal(v)
	case []any:
		all := make([]any, len(v))
		for i, element := range v {
			all[i] = escaped(element)
		}
		return all
	case map[string]any:
		all := make(map[string]any, len(v))
		for key, element := range v {
			all[key] = escaped(element)
		}
		return all
	default:
		return v
	}
}

func mapping() *yaml.Node { return &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"} }

func text(value string) *yaml.Node {
	node := &yaml.Node{}
	node.SetString(value)
	return node
}

func words(values []string) *yaml.Node {
	node := &yaml.Node{Kind: yaml.SequenceNode}
	for _, value := range values {
		node.Content = append(node.Content, text(value))
	}
	return node
}

func add(node *yaml.Node, key string, value *yaml.Node) {
	node.Content = append(node.Content, text(key), value)
}
