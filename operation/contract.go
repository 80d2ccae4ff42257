package operation

import (
	"encoding/json"
	"errors"
	"time"
)

// ContractVersion is the version of Task and Result. A runner refuses a task of another version.
const ContractVersion = 1

// ErrNoAnswer is in the error of who was asked whether an operation may go on, and has said neither yes nor no.
var ErrNoAnswer = errors.New("no answer")

// Outcome is how one target of an operation ended.
type Outcome string

// The outcomes of a target.
const (
	Planned       Outcome = "planned"
	Unchanged     Outcome = "unchanged"
	Applied       Outcome = "applied"
	Different     Outcome = "different" // the plan has changes that are not expected: nothing was applied
	TargetFailed  Outcome = "failed"
	Locked        Outcome = "locked"    // somebody else holds the state lock
	Looked        Outcome = "looked"    // explain-lock: TargetResult.Found has what was found
	Released      Outcome = "released"  // break-lease: the lock is free; TargetResult.Broken says how
	OtherLock     Outcome = "other"     // break-lease: the lock is not the one that was explained any more; nothing was done
	TargetStopped Outcome = "cancelled" // stopped by a person, by its time limit, or because an earlier target failed
)

// Action is what Terraform will do to one object.
type Action string

// The actions of a change. Both replacements count as one to add and one to destroy.
const (
	Create             Action = "create"
	Update             Action = "update"
	Delete             Action = "delete"
	Replace            Action = "replace"              // destroyed, then created
	ReplaceCreateFirst Action = "replace-create-first" // created, then destroyed
	Read               Action = "read"                 // a data source that is read during the apply
	Move               Action = "move"                 // only its address changes
	Import             Action = "import"               // taken into the state, unchanged
	Forget             Action = "forget"               // dropped from the state, not destroyed
	Output             Action = "output"               // a root output changes; Address is "output.NAME"
)

// Destroys reports whether the action destroys a real object.
func (a Action) Destroys() bool { return a == Delete || a == Replace || a == ReplaceCreateFirst }

// Change is one entry of a plan. It holds nothing sensitive.
type Change struct {
	Address         string      `json:"address"`
	PreviousAddress string      `json:"previous_address,omitempty"` // set when the object moves
	Action          Action      `json:"action"`
	ActionReason    string      `json:"action_reason,omitempty"` // Terraform's action_reason, e.g. replace_because_cannot_update
	ImportID        string      `json:"import_id,omitempty"`     // set when the object is imported, whatever the action
	Deposed         string      `json:"deposed,omitempty"`
	ReplacePaths    []string    `json:"replace_paths,omitempty"` // attribute paths that force the replacement, sorted
	Attributes      []Attribute `json:"attributes,omitempty"`    // only those that change, sorted by path

	// Cause is why the change is there, where an apply looked into it. It is no part of the digest.
	Cause *Cause `json:"cause,omitempty"`
}

// CauseKind is the kind of answer to why a change is in the plan of an apply.
type CauseKind string

// The kinds of cause.
const (
	CauseReviewed    CauseKind = "reviewed"    // it was shown on a pull request that the apply carries
	CauseDrift       CauseKind = "drift"       // the world was changed outside of Terraform
	CauseData        CauseKind = "data"        // the result of a data source is another than at the review
	CauseProvider    CauseKind = "provider"    // its provider has another version than at the review
	CauseIdentity    CauseKind = "identity"    // it depends on who plans, and another identity planned for the review
	CauseVolatile    CauseKind = "volatile"    // its value is another one in each plan
	CauseUnexplained CauseKind = "unexplained" // nothing that was looked at explains it
)

// Cause is why a change is there.
type Cause struct {
	Kind   CauseKind `json:"kind"`
	Detail string    `json:"detail,omitempty"` // plain text: the address of the data source, the provider and its two versions
	Pulls  []int     `json:"pulls,omitempty"`  // for CauseReviewed: where it was reviewed
}

// Binding is how closely an apply must keep to what was reviewed.
type Binding string

// The bindings.
const (
	BindStrict    Binding = "strict"      // a yes is asked for every change that nobody reviewed
	BindNoNewRisk Binding = "no-new-risk" // only for those of them that carry a risk; the others are recorded
)

// RiskRule is a kind of danger that a change can carry.
type RiskRule string

// The rules of the risk table.
const (
	RiskDestroyStateful RiskRule = "destroy-stateful" // destroys a thing that holds data, or that others depend on by name
	RiskReplaceStateful RiskRule = "replace-stateful" // the same, and makes it anew, empty
	RiskDestroy         RiskRule = "destroy"          // destroys anything else
	RiskReplace         RiskRule = "replace"
	RiskUnprotected     RiskRule = "unprotected"   // prevent_destroy, or a lock of its cloud, goes away
	RiskAccess          RiskRule = "access"        // who may do what: role assignments, identities, policies
	RiskPublic          RiskRule = "public-access" // it can be reached from the public network
	RiskForget          RiskRule = "forget"        // Terraform will not look after it any more
)

// Risk is one danger of one change.
type Risk struct {
	Address string   `json:"address"`
	Deposed string   `json:"deposed,omitempty"`
	Action  Action   `json:"action"`
	Rule    RiskRule `json:"rule"`
	Reason  string   `json:"reason"` // a sentence, plain text of ours but for quoted names
}

// Attribute is one attribute path whose value changes.
type Attribute struct {
	Path      string          `json:"path"`             // dots and brackets: tags["env"], rule[0].port
	Before    json.RawMessage `json:"before,omitempty"` // compact JSON; absent when there was no value, or when Sensitive
	After     json.RawMessage `json:"after,omitempty"`  // compact JSON; absent when there will be no value, when Unknown, or when Sensitive
	Unknown   bool            `json:"unknown,omitempty"`
	Sensitive bool            `json:"sensitive,omitempty"`

	// Volatile: it has another value in each plan, and After is that of this one. It has the time in it, or two plans differed.
	Volatile bool `json:"volatile,omitempty"`
}

// Counts sums up a change set the way Terraform does: a replacement is one to add and one to destroy.
type Counts struct {
	Add     int `json:"add"`
	Change  int `json:"change"`
	Destroy int `json:"destroy"`
	Replace int `json:"replace"` // how many of Add and Destroy are replacements
	Import  int `json:"import"`
	Move    int `json:"move"`
	Forget  int `json:"forget"`
	Outputs int `json:"outputs"`
}

// ChangeSet is all changes of one plan, normalised, with its digest.
type ChangeSet struct {
	Changes []Change `json:"changes"` // sorted by address, then deposed key, then action
	Digest  string   `json:"digest"`  // sha256 in hex over the whole set, also where Changes was capped
	Counts  Counts   `json:"counts"`
	Omitted int      `json:"omitted,omitempty"` // changes left out of Changes to keep the result small
}

// LockInfo is what Terraform says about who holds a state lock.
type LockInfo struct {
	ID        string `json:"id"`
	Path      string `json:"path"`
	Operation string `json:"operation"`
	Who       string `json:"who"`
	Version   string `json:"version"`
	Created   string `json:"created"`
}

// Task is what a runner is told to do, read from a file. It holds no secret.
type Task struct {
	Version    int        `json:"version"`
	Operation  int64      `json:"operation"`
	Attempt    int        `json:"attempt"`
	Launch     string     `json:"launch,omitempty"` // Operation.Launch, given back in the result: numbers can be given out twice
	Kind       Kind       `json:"kind"`
	Repository Repository `json:"repository"`

	GitDir string `json:"git_dir"` // a repository that has Tree with all its blobs
	Tree   string `json:"tree"`    // checked out in WorkDir
	Commit string `json:"commit"`  // for messages: the head that is planned or the candidate that is applied

	WorkDir  string `json:"work_dir"`            // kept between plans of one pull request, new for each apply
	CacheDir string `json:"cache_dir,omitempty"` // Terraform's plugin cache, shared between operations

	Terraform   TerraformTask     `json:"terraform"`
	Environment string            `json:"environment"`
	Env         map[string]string `json:"env,omitempty"` // the allow-listed variables of Terraform's environment, beside PATH and HOME
	// InitEnv are further variables, for init alone: with them it fetches private modules. They hold secrets, so they are in no file.
	InitEnv   map[string]string `json:"-"`
	Targets   []TargetTask      `json:"targets"`             // in configuration order
	Confirmed string            `json:"confirmed,omitempty"` // the digest that somebody said yes to
	// ConfirmedDoubts are the keys of the doubts of that question, and Agreed those of all that people said yes to: of these
	// nobody is asked again.
	ConfirmedDoubts []string `json:"confirmed_doubts,omitempty"`
	Agreed          []string `json:"agreed,omitempty"`

	Doubts   Doubts     `json:"doubts,omitempty"`   // why a yes is needed whatever the plan says
	Reviewed []Tool     `json:"reviewed,omitempty"` // apply: with what the expected changes were planned; empty: not known
	Binding  Binding    `json:"binding,omitempty"`  // apply; empty is strict
	Stateful []string   `json:"stateful,omitempty"` // types that hold data, beside those that room plan knows
	Mask     []string   `json:"mask,omitempty"`     // regular expressions of what errors and notes must not show
	Block    []RiskRule `json:"block,omitempty"`    // apply: risks that stop it until TargetTask.Approved has the change

	Lock *LockTask `json:"lock,omitempty"` // break-lease
	// Died is the work directory of the apply that is taken for the lock's holder, where this host has it: states that it could not
	// save are looked for there. An absolute path; empty: none.
	Died string `json:"died,omitempty"`

	Isolation Isolation `json:"isolation,omitzero"` // set by the executor, which knows its host
	Job       *Job      `json:"job,omitempty"`      // where it runs in a workflow

	// Recipient is the age recipient that a state which could not be saved is encrypted to, and UnsavedTo the absolute path of the file
	// that is then made. Passing says that the machine, with all that is on it, is gone afterwards. They are the job's own: who could send
	// them could have states sent to himself.
	Recipient string `json:"-"`
	UnsavedTo string `json:"-"`
	Passing   bool   `json:"-"`

	TimeLimit   time.Duration `json:"time_limit"`
	LockTimeout time.Duration `json:"lock_timeout"`
	StopGrace   time.Duration `json:"stop_grace"` // between SIGINT and SIGKILL
}

// TerraformTask says which binary plans and applies.
type TerraformTask struct {
	Path    string `json:"path"`              // absolute path of the binary
	Version string `json:"version,omitempty"` // required version; empty accepts any
}

// TargetTask is one target of a task.
type TargetTask struct {
	Target   Target            `json:"target"`
	Dir      string            `json:"dir"`                // slash-separated, relative to the tree
	VarFiles []string          `json:"var_files"`          // relative to Dir; those that do not exist are left out
	Backend  map[string]string `json:"backend"`            // -backend-config key=value
	Vars     map[string]string `json:"vars"`               // -var key=value, only for variables that the root declares
	Expected *ChangeSet        `json:"expected,omitempty"` // apply: the union of what was reviewed; break-lease: what the dead apply was to do
	Data     map[string]string `json:"data,omitempty"`     // apply: TargetResult.Data of the reviewed plans; where they differ, of the newest

	// Protected has the resources that prevent_destroy kept at the applied commit (plan: at the base), as terraform.Protected
	// lists them: losing that is a risk.
	Protected []string `json:"protected,omitempty"`

	// Approved are the changes that a second person approved although Task.Block holds them back.
	Approved []Held `json:"approved,omitempty"`

	// Lineage and Serial are of the state that Switchyard's last apply has left; Serial is 0 where that is not known.
	Lineage string `json:"lineage,omitempty"`
	Serial  int64  `json:"serial,omitempty"`
}

// Tool is one program or provider that took part.
type Tool struct {
	Name    string `json:"name"`
	Version string `json:"version"`
}

// Result is what a runner reports, written to a file by rename.
type Result struct {
	Version   int            `json:"version"`
	Operation int64          `json:"operation"`
	Attempt   int            `json:"attempt"`
	Launch    string         `json:"launch,omitempty"` // of the task
	Commit    string         `json:"commit"`
	Tools     []Tool         `json:"tools"`
	Targets   []TargetResult `json:"targets"`
	Question  string         `json:"question,omitempty"` // digest over the unexpected changes of all targets and the doubt
	Error     string         `json:"error,omitempty"`    // why no target was begun; plain text, capped
	Stopped   string         `json:"stopped,omitempty"`  // "cancelled" or "time limit", when the runner was stopped
	Started   time.Time      `json:"started"`
	Ended     time.Time      `json:"ended"`
}

// TargetResult is how one target ended.
type TargetResult struct {
	Target            Target    `json:"target"`
	Outcome           Outcome   `json:"outcome"`
	ChangeSet         ChangeSet `json:"change_set"`
	Unexpected        []Change  `json:"unexpected,omitempty"`         // apply: changes that nobody reviewed; capped like ChangeSet.Changes
	UnexpectedOmitted int       `json:"unexpected_omitted,omitempty"` // how many the cap left out of Unexpected
	UnexpectedDigest  string    `json:"unexpected_digest,omitempty"`  // of all of them, also those left out, as plan.Question takes it
	Tolerated         []Change  `json:"tolerated,omitempty"`          // apply: changes that nobody reviewed and that need no yes; capped alike
	Blocked           []string  `json:"blocked,omitempty"`            // apply: addresses that Task.Block stops and nobody approved
	Held              []Held    `json:"held,omitempty"`               // apply: the same with what has to be approved of each, capped alike
	Risks             []Risk    `json:"risks,omitempty"`              // of ChangeSet, sorted by rule, then address; capped
	RisksOmitted      int       `json:"risks_omitted,omitempty"`      // how many the cap left out of Risks
	Drift             []Change  `json:"drift,omitempty"`              // what differs in the world from the state, capped
	// Data has a hash of the result of each data source that the plan read, by address; nothing sensitive can be told from it.
	Data      map[string]string `json:"data,omitempty"`
	Notes     []string          `json:"notes,omitempty"`     // for people, about the plan; Markdown code spans only; capped
	LockFile  *LockFile         `json:"lock_file,omitempty"` // plan: the dependency lock file that it was made with
	Error     string            `json:"error,omitempty"`     // Terraform's words, without colours, capped
	Unsaved   *Unsaved          `json:"unsaved,omitempty"`   // apply: what became of a state that Terraform could not save
	Lock      *LockInfo         `json:"lock,omitempty"`
	Found     *StateLock        `json:"found,omitempty"`   // explain-lock, and where a lock was met
	Broken    *Broken           `json:"broken,omitempty"`  // break-lease
	Lineage   string            `json:"lineage,omitempty"` // of the state: that was planned with, or that the apply has left
	Serial    int64             `json:"serial,omitempty"`  // 0: not known
	Timings   Timings           `json:"timings"`
	Processes int               `json:"processes"` // Terraform processes started for this target
}

// Kept is what became of a state that Terraform could not save at the end of an apply.
type Kept string

// What becomes of such a state.
const (
	KeptPushed   Kept = "pushed"   // Terraform saved it when it was asked once more
	KeptBlob     Kept = "blob"     // it is in a blob beside the state
	KeptArtifact Kept = "artifact" // it is encrypted, in an artifact of the workflow run
	KeptMachine  Kept = "machine"  // it is on the machine that ran Terraform, and nowhere else
)

// Unsaved says where a state is that Terraform could not save, and how it is brought back.
type Unsaved struct {
	Kept  Kept   `json:"kept"`
	Place string `json:"place,omitempty"` // account/container/blob, the name of the artifact, or a path on the machine
	Next  string `json:"next"`            // the commands that a person gives, one a line
}

// UnsavedFile is what an artifact with such a state holds.
const UnsavedFile = "errored.tfstate.age"

// UnsavedArtifact is the name of the artifact with such a state.
func UnsavedArtifact(task Task) string {
	const length = 12
	return "errored-state-" + InputOperationOf(task) + "-" + task.Commit[:min(len(task.Commit), length)]
}

// LockFile is a dependency lock file.
type LockFile struct {
	Hash string `json:"hash"` // SHA-256 in hex
	Text string `json:"text"`
}

// Timings says where the time of one target went.
type Timings struct {
	Init  time.Duration `json:"init"` // 0 when init was skipped
	Plan  time.Duration `json:"plan"`
	Show  time.Duration `json:"show"`
	Apply time.Duration `json:"apply"`
}
