package runner

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/switchyard-dev/switchyard/operation"
)

// apply applies the plan files of all targets in their order, if decide lets it, and stops at the first failure.
// results has how each was planned and gets how each ended. The question is what a person is, or was, asked about.
func (j *job) apply(ctx context.Context, all []planned, results []operation.TargetResult) (question string) {
	decision := decide(j.task, results)
	copy(results, decision.results)
	if !decision.proceed {
		return decision.question
	}
	broken, begun := "", false
	for i := range results {
		result := &results[i]
		if result.Outcome != operation.Planned {
			continue
		}
		if broken == "" && ctx.Err() == nil {
			broken = j.unconfirmed(ctx, begun)
		}
		switch {
		case ctx.Err() != nil: // also while it was asked for: that nobody answered is then no reason
			result.Outcome = operation.TargetStopped
			result.Error = "Not applied: the operation was stopped before."
			continue
		case broken != "":
			result.Outcome = operation.TargetStopped
			result.Error = "Not applied: " + broken
			continue
		}
		begun = true
		if err := j.applyTarget(ctx, &all[i], result); err != nil {
			broken = fmt.Sprintf("%s came before it and did not succeed.", result.Target)
		}
	}
	return decision.question
}

// unconfirmed says why the next target may not be applied although nothing speaks against its plan; empty when it may. What is begun is
// stopped halfway by a no alone, not because nobody answers.
func (j *job) unconfirmed(ctx context.Context, begun bool) string {
	if j.confirm == nil {
		return ""
	}
	err := j.confirm(ctx)
	if err == nil || begun && errors.Is(err, operation.ErrNoAnswer) {
		return ""
	}
	return err.Error()
}

// applyTarget applies one plan file.
func (j *job) applyTarget(ctx context.Context, p *planned, result *operation.TargetResult) (err error) {
	defer func() {
		if fault := recover(); fault != nil {
			result.Outcome, result.Error = operation.TargetFailed, faultText(fault)
			result.Timings.Apply = max(result.Timings.Apply, 1) // it may have begun
			err = errors.New("fault")
		}
	}()
	unsaved := filepath.Join(p.dir, "errored.tfstate")
	if err := os.RemoveAll(unsaved); err != nil { // one that is committed would pass for Terraform's
		failed(result, fmt.Errorf("remove errored.tfstate of the repository: %w", err))
		return err //nolint:wrapcheck // noted in the result
	}
	key := targetKey(result.Target)
	took, err := j.progress.step(&result.Target, StepApply, func() error {
		return p.root.Apply(ctx, p.planFile, j.task.LockTimeout, j.work.path("plans", key+".log"))
	})
	result.Timings.Apply = took
	saved := ""
	if err != nil {
		saved = j.saveErrored(ctx, p, key, result)
	}
	j.readState(ctx, p, result)
	result.Processes = p.root.Processes()
	if err == nil {
		result.Outcome = operation.Applied
		return nil
	}
	failedWith(result, err, j.lockAfter(ctx, p, result, err))
	j.met(ctx, p.task, p, result)
	result.Error = paragraphs(saved, result.Error)
	return err
}

// readState notes which state an apply has left, so that the next one can tell whether somebody else has written
// to it since. It is not known where the operation was stopped.
func (j *job) readState(ctx context.Context, p *planned, result *operation.TargetResult) {
	result.Serial = 0
	head, err := p.root.StateHead(ctx)
	if err == nil && head.Lineage != "" {
		result.Lineage, result.Serial = head.Lineage, head.Serial
	}
}

// backend is what init has noted in Terraform's data about where the state is.
type backend struct {
	Type   string         `json:"type"`
	Config map[string]any `json:"config"`
}

// stateStays refuses to apply a root whose state would be thrown away with the checkout: one without a backend, or with
// a local one that writes into the work directory. It gives the backend, as it is before code of the repository runs.
func (j *job) stateStays(key, dir string) (backend, error) {
	noted, ok, err := j.noted(key)
	if err != nil {
		return backend{}, err
	}
	if !ok {
		return backend{}, errors.New("this root has no backend, so its state would be lost with the checkout: add a backend block, " +
			"https://developer.hashicorp.com/terraform/language/backend")
	}
	if noted.Type != "local" {
		return noted, nil
	}
	state, _ := noted.Config["path"].(string)
	if !filepath.IsAbs(state) {
		state = filepath.Join(dir, state)
	}
	if strings.HasPrefix(filepath.Clean(state), j.work.dir+string(filepath.Separator)) {
		return backend{}, errors.New("the local backend of this root writes its state into the checkout, where it would be lost: " +
			"give it an absolute path elsewhere, or use another backend")
	}
	return noted, nil
}

// noted is the backend of a target as init has noted it; not ok where the root has none.
func (j *job) noted(key string) (_ backend, ok bool, err error) {
	data, err := os.ReadFile(j.work.path("data", key, "terraform.tfstate"))
	if errors.Is(err, fs.ErrNotExist) {
		return backend{}, false, nil
	}
	var file struct {
		Backend backend `json:"backend"`
	}
	if err == nil {
		err = json.Unmarshal(data, &file)
	}
	if err != nil {
		return backend{}, false, fmt.Errorf("read the backend: %w", err)
	}
	return file.Backend, file.Backend.Type != "", nil
}
