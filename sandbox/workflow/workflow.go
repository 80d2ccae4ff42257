// Package workflow reads GitHub's workflow files: what starts them, what their jobs need before a machine may run them,
// and what their expressions evaluate to. Package sandbox calls it to decide as GitHub's server would. It is pure: it
// reads no files, runs nothing and knows no repository. What it does not understand is an error, never a guess.
package workflow

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Workflow is one workflow file.
// https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-syntax
type Workflow struct {
	Name        string
	RunName     string             // may hold expressions, as all texts below
	On          map[string]Trigger // event → when
	Permissions Permissions
	Concurrency *Concurrency
	Outputs     map[string]string // of workflow_call
	Jobs        []Job             // in file order

	document *yaml.Node
}

// Trigger says for which happenings of an event a workflow runs.
type Trigger struct {
	Branches, BranchesIgnore []string
	Tags, TagsIgnore         []string
	Paths, PathsIgnore       []string
	Types                    []string
	Crons                    []string
	Inputs                   []Input // of workflow_dispatch and workflow_call, in file order
}

// Input is one input of workflow_dispatch or workflow_call.
type Input struct {
	Name     string
	Type     string // string, boolean, number, choice or environment
	Required bool
	Default  any
	Options  []string
}

// Permissions are what a job's token may do: name → read, write or none. Nil is the repository's default.
type Permissions map[string]string

// Concurrency is the key of the same name.
// https://docs.github.com/en/actions/how-tos/write-workflows/choose-when-workflows-run/control-workflow-concurrency
type Concurrency struct {
	Group            string
	CancelInProgress string // an expression, or true or false
	Queue            string // single or max; empty: single
}

// Environment is the environment that a job names.
type Environment struct {
	Name       string
	URL        string
	Deployment string // an expression, or true or false; empty: true
}

// Job is one job of a workflow.
type Job struct {
	ID          string
	Name        string
	If          string
	Needs       []string
	Environment *Environment
	Concurrency *Concurrency
	Permissions Permissions
	FailFast    string
	Outputs     map[string]string
	Uses        string // a reusable workflow instead of steps
	With        map[string]any
	Inherit     bool              // secrets: inherit
	Secrets     map[string]string // … or the ones that are handed on

	runsOn, matrix, node *yaml.Node
}

// Job finds a job.
func (w *Workflow) Job(id string) (Job, bool) {
	i := slices.IndexFunc(w.Jobs, func(j Job) bool { return j.ID == id })
	if i < 0 {
		return Job{}, false
	}
	return w.Jobs[i], true
}

// Parse reads a workflow file.
func Parse(data []byte) (*Workflow, error) {
	var document yaml.Node
	if err := yaml.Unmarshal(data, &document); err != nil {
		return nil, fmt.Errorf("read the workflow: %w", err)
	}
	if len(document.Content) != 1 || document.Content[0].Kind != yaml.MappingNode {
		return nil, errors.New("read the workflow: it is not a mapping")
	}
	w := &Workflow{document: document.Content[0], On: map[string]Trigger{}}
	var errs []error
	for key, value := range pairs(w.document) {
		switch key.Value {
		case "name":
			w.Name = value.Value
		case "run-name":
			w.RunName = value.Value
		case "on", "true": // YAML 1.1 takes a bare `on` for true
			errs = append(errs, w.readOn(value))
		case "permissions":
			errs = append(errs, readPermissions(value, &w.Permissions))
		case "concurrency":
			errs = append(errs, readConcurrency(value, &w.Concurrency))
		case "jobs":
			errs = append(errs, w.readJobs(value))
		case "env", "defaults": // act reads them
		default:
			errs = append(errs, at(key, "unknown key %q", key.Value))
		}
	}
	if len(w.On) == 0 {
		errs = append(errs, errors.New("it has no `on`"))
	}
	errs = append(errs, w.checkNeeds())
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("read the workflow: %w", err)
	}
	return w, nil
}

// pairs yields the keys and values of a mapping; nothing of other nodes.
func pairs(node *yaml.Node) func(func(key, value *yaml.Node) bool) {
	return func(yield func(key, value *yaml.Node) bool) {
		if node == nil || node.Kind != yaml.MappingNode {
			return
		}
		for i := 0; i+1 < len(node.Content); i += 2 {
			if !yield(node.Content[i], resolved(node.Content[i+1])) {
				return
			}
		}
	}
}

// resolved follows an alias.
func resolved(node *yaml.Node) *yaml.Node {
	if node.Kind == yaml.AliasNode {
		return node.Alias
	}
	return node
}

func at(node *yaml.Node, words string, arguments ...any) error {
	return fmt.Errorf("line %d: "+words, append([]any{node.Line}, arguments...)...)
}

// list reads a text or a list of texts.
func list(node *yaml.Node) []string {
	if node.Kind == yaml.ScalarNode {
		return []string{node.Value}
	}
	all := make([]string, 0, len(node.Content))
	for _, element := range node.Content {
		all = append(all, resolved(element).Value)
	}
	return all
}

func (w *Workflow) readOn(node *yaml.Node) error {
	if node.Kind != yaml.MappingNode {
		for _, event := range list(node) {
			w.On[event] = Trigger{}
		}
		return nil
	}
	var errs []error
	for event, value := range pairs(node) {
		trigger := Trigger{}
		if event.Value == "schedule" {
			for _, entry := range value.Content {
				for _, cron := range pairs(resolved(entry)) {
					trigger.Crons = append(trigger.Crons, cron.Value)
				}
			}
		}
		for key, filter := range pairs(value) {
			errs = append(errs, w.readFilter(&trigger, key, filter))
		}
		w.On[event.Value] = trigger
	}
	return errors.Join(errs...)
}

func (w *Workflow) readFilter(t *Trigger, key, value *yaml.Node) error {
	lists := map[string]*[]string{
		"branches": &t.Branches, "branches-ignore": &t.BranchesIgnore, "tags": &t.Tags, "tags-ignore": &t.TagsIgnore,
		"paths": &t.Paths, "paths-ignore": &t.PathsIgnore, "types": &t.Types,
	}
	switch into, ok := lists[key.Value]; {
	case ok:
		*into = list(value)
		if key.Value == "types" {
			return nil
		}
		for _, pattern := range *into {
			if strings.ContainsAny(pattern, "?+[]") {
				return at(value, "the stand-in knows *, ** and ! in filters, and no other pattern: %q", pattern)
			}
		}
	case key.Value == "inputs":
		for name, input := range pairs(value) {
			read, err := readInput(name, input)
			if err != nil {
				return err
			}
			t.Inputs = append(t.Inputs, read)
		}
	case key.Value == "outputs":
		w.Outputs = map[string]string{}
		for name, output := range pairs(value) {
			for part, text := range pairs(output) {
				if part.Value == "value" {
					w.Outputs[name.Value] = text.Value
				}
			}
		}
	case key.Value == "secrets", key.Value == "workflows":
	default:
		return at(key, "unknown filter %q", key.Value)
	}
	return nil
}

func readInput(name, node *yaml.Node) (Input, error) {
	var body struct {
		Description string   `yaml:"description"`
		Type        string   `yaml:"type"`
		Required    bool     `yaml:"required"`
		Default     any      `yaml:"default"`
		Options     []string `yaml:"options"`
		Deprecation string   `yaml:"deprecationMessage"` //nolint:tagliatelle // GitHub's name
	}
	if err := node.Decode(&body); err != nil {
		return Input{}, fmt.Errorf("read the input %s: %w", name.Value, err)
	}
	if body.Type == "" {
		body.Type = "string"
	}
	return Input{Name: name.Value, Type: body.Type, Required: body.Required, Default: plain(body.Default), Options: body.Options}, nil
}

// readPermissions reads read-all, write-all or a mapping; what a mapping does not name is none.
// https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-syntax#permissions
func readPermissions(node *yaml.Node, into *Permissions) error {
	*into = Permissions{}
	if node.Kind == yaml.ScalarNode {
		level, all := strings.CutSuffix(node.Value, "-all")
		if !all || level != "read" && level != "write" {
			return at(node, "permissions are read-all, write-all or a mapping, not %q", node.Value)
		}
		(*into)["*"] = level
		return nil
	}
	for key, value := range pairs(node) {
		if !slices.Contains([]string{"read", "write", "none"}, value.Value) {
			return at(value, "the permission %s is read, write or none, not %q", key.Value, value.Value)
		}
		(*into)[key.Value] = value.Value
	}
	return nil
}

func readConcurrency(node *yaml.Node, into **Concurrency) error {
	c := &Concurrency{}
	*into = c
	if node.Kind == yaml.ScalarNode {
		c.Group = node.Value
		return nil
	}
	for key, value := range pairs(node) {
		switch key.Value {
		case "group":
			c.Group = value.Value
		case "cancel-in-progress":
			c.CancelInProgress = value.Value
		case "queue":
			c.Queue = value.Value
			if value.Value != "single" && value.Value != "max" {
				return at(value, "queue is single or max, not %q", value.Value)
			}
		default:
			return at(key, "unknown key %q", key.Value)
		}
	}
	if c.Queue == "max" && c.CancelInProgress != "" && c.CancelInProgress != "false" {
		return at(node, "queue: max and cancel-in-progress cannot be used together")
	}
	return nil
}

func (w *Workflow) readJobs(node *yaml.Node) error {
	var errs []error
	for id, body := range pairs(node) {
		job, err := readJob(id, body)
		errs = append(errs, err)
		w.Jobs = append(w.Jobs, job)
	}
	if len(w.Jobs) == 0 {
		errs = append(errs, at(node, "it has no jobs"))
	}
	return errors.Join(errs...)
}

func readJob(id, body *yaml.Node) (Job, error) {
	job := Job{ID: id.Value, node: body}
	var errs []error
	for key, value := range pairs(body) {
		switch key.Value {
		case "name":
			job.Name = value.Value
		case "if":
			job.If = value.Value
		case "needs":
			job.Needs = list(value)
		case "runs-on":
			job.runsOn = value
		case "environment":
			job.Environment = readEnvironment(value)
		case "concurrency":
			errs = append(errs, readConcurrency(value, &job.Concurrency))
		case "permissions":
			errs = append(errs, readPermissions(value, &job.Permissions))
		case "strategy":
			for part, node := range pairs(value) {
				switch part.Value {
				case "matrix":
					job.matrix = node
				case "fail-fast":
					job.FailFast = node.Value
				}
			}
		case "outputs":
			errs = append(errs, decode(value, &job.Outputs))
		case "uses":
			job.Uses = value.Value
		case "with":
			job.With = map[string]any{}
			errs = append(errs, decode(value, &job.With))
		case "secrets":
			job.Inherit = value.Value == "inherit"
			if !job.Inherit {
				errs = append(errs, decode(value, &job.Secrets))
			}
		case "steps", "env", "defaults", "timeout-minutes", "container", "services": // act reads them
		case "continue-on-error":
			errs = append(errs, at(key, "the stand-in does not know continue-on-error of jobs"))
		default:
			errs = append(errs, at(key, "unknown key %q of the job %s", key.Value, id.Value))
		}
	}
	if job.Uses == "" && job.runsOn == nil {
		errs = append(errs, at(id, "the job %s has no runs-on", id.Value))
	}
	if job.Uses != "" && job.matrix != nil {
		errs = append(errs, at(id, "the stand-in does not know a matrix of reusable workflows"))
	}
	return job, errors.Join(errs...)
}

func decode(node *yaml.Node, into any) error {
	if err := node.Decode(into); err != nil {
		return fmt.Errorf("line %d: %w", node.Line, err)
	}
	return nil
}

func readEnvironment(node *yaml.Node) *Environment {
	if node.Kind == yaml.ScalarNode {
		return &Environment{Name: node.Value}
	}
	environment := &Environment{}
	for key, value := range pairs(node) {
		switch key.Value {
		case "name":
			environment.Name = value.Value
		case "url":
			environment.URL = value.Value
		case "deployment":
			environment.Deployment = value.Value
		}
	}
	return environment
}

// checkNeeds refuses needs that do not exist or that wait for each other.
func (w *Workflow) checkNeeds() error {
	settled := map[string]bool{}
	for range w.Jobs {
		for _, job := range w.Jobs {
			settled[job.ID] = !slices.ContainsFunc(job.Needs, func(need string) bool { return !settled[need] })
		}
	}
	for _, job := range w.Jobs {
		if !settled[job.ID] {
			return fmt.Errorf("the job %s needs jobs that are not there or that wait for each other: %v", job.ID, job.Needs)
		}
	}
	return nil
}

func sortedKeys(m map[string]any) []string { return slices.Sorted(maps.Keys(m)) }

// plain turns what YAML decodes into the types of expressions.
func plain(v any) any {
	switch v := v.(type) {
	case int:
		return float64(v)
	case []any:
		all := make([]any, len(v))
		for i, element := range v {
			all[i] = plain(element)
		}
		return all
	case map[string]any:
		all := make(map[string]any, len(v))
		for key, element := range v {
			all[key] = plain(element)
		}
		return all
	default:
		return v
	}
}
