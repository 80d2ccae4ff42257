package runner

import (
	"encoding/json"
	"io"
	"sync"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/switchyard-dev/switchyard/operation"
)

// Step is one part of a runner's work.
type Step string

// The steps of a runner.
const (
	StepCheckout Step = "checkout"
	StepInit     Step = "init"
	StepPlan     Step = "plan"
	StepShow     Step = "show"
	StepApply    Step = "apply"
	StepLook     Step = "look"  // at a state lock
	StepBreak    Step = "break" // of a state lock
)

// Progress is one line that a runner writes while it works.
type Progress struct {
	Time      time.Time         `json:"time"`
	Operation int64             `json:"operation"`
	Attempt   int               `json:"attempt"`
	Target    *operation.Target `json:"target,omitempty"` // absent when the step is for all targets
	Step      Step              `json:"step"`
	Took      time.Duration     `json:"took,omitempty"` // set when the step ended; absent when it began
	Error     string            `json:"error,omitempty"`
}

// maxProgressError bounds the error in a line of progress, in bytes. The result has all of it.
const maxProgressError = 300

// progress writes lines. That nobody reads them is no reason to stop.
type progress struct {
	mutex sync.Mutex
	out   io.Writer
	clock clockwork.Clock
	task  operation.Task
}

// step notes that a step begins, does it, notes that it ended, and says how long it took.
func (p *progress) step(target *operation.Target, step Step, do func() error) (time.Duration, error) {
	line := Progress{Time: p.clock.Now(), Operation: p.task.Operation, Attempt: p.task.Attempt, Target: target, Step: step}
	p.write(line)
	begun := line.Time
	err := do()
	line.Time = p.clock.Now()
	line.Took = max(line.Time.Sub(begun), 1)
	if err != nil {
		line.Error = clip(err.Error(), maxProgressError)
	}
	p.write(line)
	return line.Took, err
}

// write writes one line.
func (p *progress) write(line Progress) {
	data, err := json.Marshal(line)
	if err != nil {
		return // every field of it can be written
	}
	p.mutex.Lock()
	defer p.mutex.Unlock()
	_, _ = p.out.Write(append(data, '\n'))
}
