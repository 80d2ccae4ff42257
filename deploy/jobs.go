package deploy

import (
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/queue"
)

// The kinds of job that deploy does. Their payloads are the types below.
const (
	KindPull         = "pull"
	KindPush         = "push"
	KindComment      = "comment"
	KindMergeGroup   = "merge_group"
	KindInstallation = "installation"
	KindPlan         = "plan"
	KindEnvironment  = "environment"
	KindSweep        = "sweep"
	KindRepository   = "repository"
	KindOutdated     = "outdated"
	KindRun          = "run"
	KindPages        = "pages"
	KindGate         = "gate"
	KindGates        = "gates"
)

// PullSeen says that a pull request has to be looked at again.
type PullSeen struct {
	Repository operation.Repository `json:"repository"`
	Number     int                  `json:"number"`           // 0: all open ones with that head
	Head       string               `json:"head,omitempty"`   // commit, where the number is not known
	Closed     bool                 `json:"closed,omitempty"` // the event said so; a hint that saves a call
	Again      string               `json:"again,omitempty"`  // login of who asked for a new plan; empty: only when something changed
	First      string               `json:"first,omitempty"`  // the root that who asked wants to see before the others
	Bot        bool                 `json:"bot,omitempty"`    // the event said that a bot opened it; a hint that lets people's go first

	Outdated *outdated `json:"outdated,omitempty"` // its plan was found to be out of date

	lent *lent // the commit of a fork that a comment asks for; never of a stored job
}

// BranchPushed says that a branch has moved, appeared or gone.
type BranchPushed struct {
	Repository operation.Repository `json:"repository"`
	Branch     string               `json:"branch"`
	Before     string               `json:"before"`          // its tip before, a hint; all zeros for a new branch
	After      string               `json:"after,omitempty"` // its tip then, where a webhook has told it; all zeros for a deleted branch
	Forced     bool                 `json:"forced"`
	Actor      string               `json:"actor"`
	Commit     string               `json:"commit,omitempty"` // of the branch, which alone is applied; empty: its tip
}

// CommentMade says that a person wrote a comment whose first line starts with a slash.
type CommentMade struct {
	Repository operation.Repository `json:"repository"`
	Number     int                  `json:"number"` // of the issue or pull request
	IsPull     bool                 `json:"is_pull"`
	Comment    int64                `json:"comment"`
	Author     string               `json:"author"`
	Bot        bool                 `json:"bot"` // a bot wrote it, or an App in somebody's name
	Body       string               `json:"body"`
}

// GroupQueued says that a merge group waits for its checks.
type GroupQueued struct {
	Repository operation.Repository `json:"repository"`
	Base       string               `json:"base"` // branch
	Head       string               `json:"head"` // commit
}

// Installed says that repositories were added to or removed from the App's installation.
type Installed struct {
	Installation int64                  `json:"installation"`
	Added        []operation.Repository `json:"added"`
	Removed      []operation.Repository `json:"removed"`
}

// Job makes the queue's job of what was seen.
func (p PullSeen) Job() queue.Job {
	if p.Number == 0 {
		return job(queue.Quick, KindPull, p.Repository.ID, fmt.Sprintf("%d@%s", p.Repository.ID, p.Head), p)
	}
	j := job(queue.Quick, KindPull, p.Repository.ID, fmt.Sprintf("%d#%d", p.Repository.ID, p.Number), p)
	if p.Bot && p.Again == "" {
		j.Lane = botsLane(j.Lane)
	}
	return j
}

// botsLane is the lane of what only bots want of a repository. It takes turns with the repository's own lane, so
// what people want waits for one job of it at most, however many pull requests a bot has opened.
func botsLane(lane string) string { return lane + " bots" }

// Job makes the queue's job of what was seen.
func (b BranchPushed) Job() queue.Job {
	return job(queue.Quick, KindPush, b.Repository.ID, fmt.Sprintf("%d@%s", b.Repository.ID, b.Branch), b)
}

// Job makes the queue's job of what was seen.
func (c CommentMade) Job() queue.Job {
	return job(queue.Quick, KindComment, c.Repository.ID, fmt.Sprintf("%d#%d", c.Repository.ID, c.Number), c)
}

// Job makes the queue's job of what was seen.
func (g GroupQueued) Job() queue.Job {
	return job(queue.Quick, KindMergeGroup, g.Repository.ID, fmt.Sprintf("%d@%s", g.Repository.ID, g.Head), g)
}

// Job makes the queue's job of what was seen.
func (i Installed) Job() queue.Job {
	j := job(queue.Quick, KindInstallation, 0, fmt.Sprintf("installation %d", i.Installation), i)
	j.Alike = false // what was added, removed and added again is there
	return j
}

// job makes a job whose lane is its repository, so that one with many jobs does not hold up others. Each reads
// the truth when it is done, so one that says the same as one that waits is needless.
func job(class queue.Class, kind string, repository int64, key string, payload any) queue.Job {
	data, err := json.Marshal(payload)
	if err != nil { // the payload types above have nothing that cannot be marshalled
		panic(fmt.Sprintf("deploy: marshal %s: %v", kind, err))
	}
	j := queue.Job{Class: class, Kind: kind, Key: key, Payload: data, Alike: true}
	if repository != 0 {
		j.Lane = strconv.FormatInt(repository, 10)
	}
	return j
}
