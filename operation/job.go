package operation

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// InputsVersion is the version of the inputs with which the server dispatches a workflow run, and of Job.
const InputsVersion = 1

// The inputs of the workflow that the server dispatches. All but InputTask are there for people to read and for the
// workflow file itself; the runner compares them with the task and proves what it can.
// https://docs.github.com/en/rest/actions/workflows#create-a-workflow-dispatch-event allows 25 of them.
const (
	InputCommand     = "command"     // plan or apply
	InputEnvironment = "environment" // ours: prod
	InputProtection  = "protection"  // the GitHub Environment that the job names; empty: none
	InputOperation   = "operation"   // NUMBER.ATTEMPT
	InputSHA         = "sha"         // the head that is planned, the candidate that is applied
	InputDigest      = "digest"      // that a person said yes to; empty without one
	InputLaunch      = "launch"      // the beginning of Task.Launch, for the name of the run
	InputRunsOn      = "runs_on"     // JSON list with a list of labels for each of the jobs
	InputShards      = "shards"      // JSON list of the numbers of the jobs that work beside each other
	InputTask        = "task"        // the Task as JSON, gzip, base64
)

// MaxInputs bounds what all inputs of one dispatch have together, in characters. GitHub documents 65,535 for the payload
// of a dispatch: https://docs.github.com/en/actions/reference/workflows-and-actions/events-that-trigger-workflows.
const MaxInputs = 60_000

// Job says where a workflow run of a task takes place, and what its runner has to prove to itself before it applies
// anything. All of it came through the inputs of a dispatch, so the runner takes none of it for true.
type Job struct {
	Workflow    string `json:"workflow"`              // file below .github/workflows
	Ref         string `json:"ref"`                   // branch whose workflow file runs
	Environment string `json:"environment,omitempty"` // GitHub Environment of the job; empty: none
	Server      string `json:"server,omitempty"`      // where the runner confirms its hold; empty: it cannot reach the server

	Branch string `json:"branch"`         // that maps to the environment
	Base   string `json:"base,omitempty"` // plan: tip of that branch, with which Task.Commit is merged
	Pull   int    `json:"pull,omitempty"` // plan: 0 for a merge group
	Fork   bool   `json:"fork,omitempty"` // plan: of a fork, by a maintainer's word

	Before  map[string]string `json:"before,omitempty"`  // apply: root → applied commit; absent before the first apply
	Reviews []Review          `json:"reviews,omitempty"` // apply: what people said about the pull requests that it carries
	Words   []Word            `json:"words,omitempty"`   // apply: comments in which people said yes

	// Shards are the roots of each of the jobs that work beside each other; an apply has one.
	Shards [][]string `json:"shards"`
	// Machines are the labels of the runner of each of Shards; none: ubuntu-latest.
	Machines [][]string `json:"machines,omitempty"`
}

// Word is a comment in which a person said yes: it can be read again.
type Word struct {
	Comment int64  `json:"comment"` // GitHub's id
	Login   string `json:"login"`
}

// RunName is what the workflow's `run-name` makes of the inputs: by it a run is found whose id is not known.
func RunName(task Task) string {
	return fmt.Sprintf("switchyard %s %s, operation %s %s", task.Kind, task.Environment, InputOperationOf(task), InputLaunchOf(task))
}

// NamedRun is what RunName puts into the name of a run.
type NamedRun struct {
	Operation int64
	Attempt   int
	Launch    string // the beginning of it
}

// runName finds the operation in the name of a run.
var runName = regexp.MustCompile(`^switchyard [a-z-]{1,20} .{1,63}, operation (\d{1,18})\.(\d{1,9}) (\S{0,8})$`)

// ParseRunName reads what RunName has made; false for any other name. Anybody can give a run such a name.
func ParseRunName(name string) (NamedRun, bool) {
	found := runName.FindStringSubmatch(name)
	if found == nil {
		return NamedRun{}, false
	}
	id, _ := strconv.ParseInt(found[1], 10, 64) // 18 digits always fit
	attempt, _ := strconv.Atoi(found[2])
	return NamedRun{Operation: id, Attempt: attempt, Launch: found[3]}, true
}

// IsRunOf reports whether a run's name is one that RunName makes for an operation of a kind.
func IsRunOf(name string, kind Kind) bool {
	_, ours := ParseRunName(name)
	return ours && strings.HasPrefix(name, "switchyard "+string(kind)+" ")
}

// InputLaunchOf is the value of InputLaunch: enough of it to tell two databases apart that gave out one number.
func InputLaunchOf(task Task) string {
	const length = 8
	return task.Launch[:min(len(task.Launch), length)]
}

// InputOperationOf is the value of InputOperation.
func InputOperationOf(task Task) string { return fmt.Sprintf("%d.%d", task.Operation, task.Attempt) }

// ArtifactName is the name of the archive that one job of a run leaves its result in. It has the file ResultFile.
func ArtifactName(task Task, shard int) string {
	return fmt.Sprintf("%s%s-%d", ArtifactPrefix, InputOperationOf(task), shard)
}

// ArtifactPrefix begins the name of each of our archives.
const ArtifactPrefix = "switchyard-"

// ResultFile is the one file of a job's archive.
const ResultFile = "result.json"
