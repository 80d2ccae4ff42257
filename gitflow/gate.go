package gitflow

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"github.com/switchyard-dev/switchyard/operation"
)

// MaxGateComment is how many characters the comment of an answer to a deployment protection rule may have, and MaxGateReports how
// often a waiting deployment may be reported about.
// https://docs.github.com/en/actions/how-tos/deploy/configure-and-manage-deployments/create-custom-protection-rules
const (
	MaxGateComment = 1024
	MaxGateReports = 10
)

// AloneWorkflow is the workflow of repositories in which Switchyard's action works without its server.
const AloneWorkflow = ".github/workflows/switchyard-alone.yml"

// LockWorkflow is the workflow by which people break state locks while the server is down.
const LockWorkflow = ".github/workflows/switchyard-break-lease.yml"

// GateVerdict is the answer to a job that wants to deploy to an environment.
type GateVerdict string

// The answers. Only the first two are given for good.
const (
	GateApproved GateVerdict = "approved"
	GateRejected GateVerdict = "rejected"
	GateWaits    GateVerdict = "waits"
)

// Gate is what was observed about a job that waits for Switchyard's word on its GitHub Environment.
type Gate struct {
	Asked        string   `yaml:"asked"`        // the GitHub Environment
	Environment  string   `yaml:"environment"`  // ours that it belongs to; "" where it belongs to none
	Plans        bool     `yaml:"plans"`        // it is that environment's for plans
	Environments []string `yaml:"environments"` // all of the configuration
	Branches     []string `yaml:"branches"`     // patterns of those that deploy to Environment
	Takes        bool     `yaml:"takes"`        // one of them is the run's branch
	Problem      string   `yaml:"problem"`      // why the configuration cannot be used; "" where it can

	Bot       string         `yaml:"bot"` // login of the App
	Run       GateRun        `yaml:"run"`
	Operation *GateOperation `yaml:"operation"` // that the run was started for; nil: none is known
	Alone     *GateAlone     `yaml:"alone"`     // the run is of AloneWorkflow; else nil
	Holder    string         `yaml:"holder"`    // what has the hold of Environment: "apply 12 (#38)"; "" for nothing
}

// GateRun is what GitHub says about the run.
type GateRun struct {
	Event      string `yaml:"event"`
	Path       string `yaml:"path"` // of its workflow file
	Branch     string `yaml:"branch"`
	SHA        string `yaml:"sha"`
	Attempt    int    `yaml:"attempt"`
	Actor      string `yaml:"actor"`      // who started it
	Triggering string `yaml:"triggering"` // who started this attempt
}

// GateOperation is the operation that a run was started for.
type GateOperation struct {
	ID       int64           `yaml:"id"`
	Kind     operation.Kind  `yaml:"kind"`
	For      string          `yaml:"for"` // its environment
	State    operation.State `yaml:"state"`
	Current  bool            `yaml:"current"`  // it is carried out by this very run, not by a later attempt
	Hold     bool            `yaml:"hold"`     // it has the hold of its environment
	Workflow string          `yaml:"workflow"` // file below .github/workflows that was dispatched
	Ref      string          `yaml:"ref"`      // branch on which it was
	Commit   string          `yaml:"commit"`   // apply: the candidate
	Pull     int             `yaml:"pull"`     // 0: none
	Actor    string          `yaml:"actor"`    // who asked for it
	Missing  []string        `yaml:"missing"`  // apply: sentences, which approvals it lacks that its environment asks for
}

// GateAlone is what was observed about a run of the action without the server.
type GateAlone struct {
	Same bool `yaml:"same"` // its workflow file is the one of the default branch
	On   bool `yaml:"on"`   // its commit is on its branch
	Fork bool `yaml:"fork"` // its commit is of a fork
}

// GateDecision is the answer with its reasons, in plain text but for code spans.
type GateDecision struct {
	Verdict GateVerdict
	Reasons []string // whole sentences, at least one
	Remedy  string   // the one next step where it is rejected
}

// DecideGate decides whether a job may deploy to an environment: only one that carries out an operation of Switchyard which runs,
// with its hold and the approvals that its environment asks for, or one of the action that works without the server, on the branch
// of that environment. Whether the plan is covered is not asked here: the job plans anew and decides that.
func DecideGate(g Gate) GateDecision {
	switch {
	case g.Operation != nil:
		return dispatchedGate(g, *g.Operation)
	case g.Problem != "":
		return reject("Add or correct .github/switchyard.yml on the default branch, then start the run anew.",
			"Switchyard cannot use the configuration, so it knows of nothing that may deploy to "+code(g.Asked)+".")
	case g.Environment == "":
		return reject(fmt.Sprintf("Add it to `environments`, or take Switchyard's rule off it in the settings of %s.", code(g.Asked)),
			fmt.Sprintf(".github/switchyard.yml knows no environment %s. Known: %s.", code(g.Asked), strings.Join(g.Environments, ", ")))
	case sameLogin(g.Run.Actor, g.Bot):
		return reject("Whoever runs Switchyard has to find out who else has its private key, and replace that.",
			"This run was started in Switchyard's name, but Switchyard has started none like it.")
	case g.Alone != nil:
		return aloneGate(g, *g.Alone)
	default:
		return reject(g.otherwise(), fmt.Sprintf("Switchyard did not start this run: %s started %s on branch %s.",
			code(cmp.Or(g.Run.Triggering, g.Run.Actor, "somebody")), code(g.Run.Path), code(g.Run.Branch)))
	}
}

// dispatchedGate decides about a run that an operation was dispatched as.
func dispatchedGate(g Gate, op GateOperation) GateDecision {
	again := "Comment " + op.again() + " for a new run."
	name := fmt.Sprintf("%s %d", op.Kind, op.ID)
	switch wrong := unlike(g, op); {
	case g.Run.Attempt != 1:
		return reject(again, fmt.Sprintf("%s started this run again by hand: what %s was decided about may be long over.",
			code(g.Run.Triggering), name))
	case wrong != "":
		return reject(again, fmt.Sprintf("It is said to be the run of %s, but %s.", name, wrong))
	case !strings.EqualFold(g.Asked, op.protection()):
		return reject(again, fmt.Sprintf("The job asks for %s, but %s works in %s.", code(g.Asked), name, code(op.protection())))
	case op.State != operation.Running:
		return reject(again, fmt.Sprintf("%s does not run any more: its state is %s.", capital(name), op.State))
	case !op.Current:
		return reject(again, capital(name)+" is carried out by another run meanwhile.")
	case op.Kind.Exclusive() && !op.Hold:
		return reject(again, fmt.Sprintf("%s does not have the hold of %s.", capital(name), op.For))
	case op.Kind.Exclusive() && g.Run.SHA != op.Commit:
		return reject(again, fmt.Sprintf("The branch had moved when this run began: it is at %s, and %s is of %s.",
			code(shortCommit(g.Run.SHA)), name, code(shortCommit(op.Commit))))
	case len(op.Missing) > 0:
		return reject(fmt.Sprintf("Have that approved, then comment %s.", op.again()), op.Missing...)
	}
	about := fmt.Sprintf("%s of %s", capital(name), code(shortCommit(op.Commit)))
	if op.Pull != 0 {
		about += fmt.Sprintf(" (#%d)", op.Pull)
	}
	if op.Actor != "" {
		about += ", which " + code(op.Actor) + " asked for,"
	}
	if !op.Kind.Exclusive() {
		return GateDecision{Verdict: GateApproved, Reasons: []string{about + " runs."}}
	}
	does := "The job plans anew, and applies nothing that is not covered."
	if op.Kind == operation.BreakLease {
		does = "The job breaks one state lock, of which it proves that people said yes to it, and changes nothing else."
	}
	return GateDecision{Verdict: GateApproved, Reasons: []string{about + " has the hold of " + op.For + ".", does}}
}

// unlike says how a run differs from what was dispatched; "" where it does not.
func unlike(g Gate, op GateOperation) string {
	path, _, _ := strings.Cut(g.Run.Path, "@")
	switch {
	case path != ".github/workflows/"+op.Workflow:
		return "it is of the workflow " + code(g.Run.Path)
	case g.Run.Event != "workflow_dispatch":
		return "the event " + code(g.Run.Event) + " started it"
	case g.Run.Branch != op.Ref:
		return "it is on branch " + code(g.Run.Branch)
	case !sameLogin(g.Run.Actor, g.Bot) || !sameLogin(g.Run.Triggering, g.Bot):
		return code(cmp.Or(g.Run.Triggering, g.Run.Actor)) + " started it"
	default:
		return ""
	}
}

// aloneGate decides about a run of the action without the server.
func aloneGate(g Gate, alone GateAlone) GateDecision {
	events := []string{"push", "workflow_dispatch"}
	if g.Plans {
		events = []string{"pull_request", "merge_group", "workflow_dispatch"}
	}
	switch {
	case alone.Fork:
		return reject("Have somebody of this repository push the branch here.", "Its commit is of a fork.")
	case !alone.Same:
		return reject("Bring the file of the default branch to "+code(g.Run.Branch)+", then start the run anew.",
			code(AloneWorkflow)+" is another file on "+code(g.Run.Branch)+" than on the default branch.")
	case !slices.Contains(events, g.Run.Event):
		return reject(g.otherwise(), fmt.Sprintf("The event %s deploys nothing to %s.", code(g.Run.Event), g.Asked))
	case g.Plans:
		return GateDecision{Verdict: GateApproved, Reasons: []string{"It is a plan by the known workflow " + code(AloneWorkflow) + "."}}
	case !g.Takes:
		return reject(g.otherwise(), fmt.Sprintf("Branch %s does not deploy to %s.", code(g.Run.Branch), g.Environment))
	case g.Run.Attempt != 1:
		return reject("Comment `/apply "+g.Environment+"` for a new run.",
			code(g.Run.Triggering)+" started this run again by hand, and what it would do may be long over.")
	case !alone.On:
		return reject("Comment `/apply "+g.Environment+"` for a run of the branch as it is now.",
			fmt.Sprintf("Commit %s is not on branch %s any more.", code(shortCommit(g.Run.SHA)), code(g.Run.Branch)))
	case g.Holder != "":
		return GateDecision{Verdict: GateWaits, Reasons: []string{
			fmt.Sprintf("%s is held by %s. This run goes on when that has ended; you need not do anything.", g.Environment, g.Holder),
		}}
	}
	return GateDecision{Verdict: GateApproved, Reasons: []string{
		fmt.Sprintf("It is a run of the known workflow %s on %s, which deploys to %s.", code(AloneWorkflow), code(g.Run.Branch), g.Environment),
	}}
}

// otherwise is the right way to an environment.
func (g Gate) otherwise() string {
	switch {
	case strings.HasPrefix(g.Run.Path+"@", LockWorkflow+"@"):
		return "Comment " + code(operation.BreakLease.Again(g.Environment)) + ": Switchyard works, so it knows who holds the lock."
	case g.Plans:
		return "Comment `/plan` on the pull request."
	case len(g.Branches) == 1 && !strings.Contains(g.Branches[0], "*"):
		return fmt.Sprintf("Merge the change into %s: Switchyard applies to %s what is merged there.", code(g.Branches[0]), g.Environment)
	default:
		return fmt.Sprintf("Merge the change into a branch of %s: Switchyard applies what is merged there.", g.Environment)
	}
}

// protection is the GitHub Environment of the operation's jobs.
func (o GateOperation) protection() string {
	if o.Kind.Exclusive() {
		return o.For
	}
	return o.For + operation.PlanEnvironment
}

// again is the comment that asks for the operation anew.
func (o GateOperation) again() string {
	return code(o.Kind.Again(o.For))
}

func reject(remedy string, reasons ...string) GateDecision {
	return GateDecision{Verdict: GateRejected, Reasons: reasons, Remedy: remedy}
}

// Comment is the decision as GitHub shows it on the page of the deployment: Markdown of at most MaxGateComment characters.
func (d GateDecision) Comment() string {
	head := map[GateVerdict]string{
		GateApproved: "**Switchyard lets it deploy.**", GateRejected: "**Switchyard does not let it deploy.**", GateWaits: "**It waits.**",
	}[d.Verdict]
	return head + " " + d.Text(MaxGateComment-len([]rune(head))-1)
}

// Text is the reasons and the next step, in at most so many characters: of the reasons as many as there is room for.
func (d GateDecision) Text(most int) string {
	tail := ""
	if d.Remedy != "" {
		tail = " Next: " + lower(d.Remedy)
	}
	room := most - len([]rune(tail))
	text := []rune(strings.Join(d.Reasons, " "))
	if len(text) > room {
		text = text[:room-3]
		if strings.Count(string(text), "`")%2 != 0 { // a code span that is cut would swallow what follows
			text = append(text, '`')
		}
		text = append(text, ' ', '…')
	}
	return string(text) + tail
}

// Whys is the decision in one line, for the audit.
func (d GateDecision) Whys() string {
	return strings.TrimSpace(strings.Join(d.Reasons, " ") + " " + d.Remedy)
}

// DecideJob says why a job that GitHub vouches for is not the one that an operation was dispatched as; "" when it is. op has what
// was dispatched.
func DecideJob(identity operation.JobIdentity, run operation.WorkflowRun) string {
	task := run.Task
	workflow := fmt.Sprintf("%s/.github/workflows/%s@refs/heads/%s", task.Repository.FullName(), task.Job.Workflow, task.Job.Ref)
	switch {
	case identity.RepositoryID != task.Repository.ID:
		return "the job is of another repository"
	case run.Run == 0 || identity.Run != run.Run:
		return "the job is of another run"
	case identity.Attempt != 1:
		return "the run was started again by hand"
	case identity.Event != "workflow_dispatch":
		return "the run was not dispatched"
	case !strings.EqualFold(identity.WorkflowRef, workflow):
		return "the run is of another workflow or branch"
	case identity.Ref != "refs/heads/"+task.Job.Ref:
		return "the run is on another branch"
	case !strings.EqualFold(identity.Environment, task.Job.Environment):
		return "the job works in another GitHub Environment"
	case run.Head != "" && identity.SHA != run.Head:
		return "the run is of another commit than before"
	case task.Kind.Exclusive() && identity.SHA != task.Commit:
		return "the branch had moved when the run began"
	default:
		return ""
	}
}

// sameLogin compares two logins. GitHub ignores case there, and nobody has an empty one.
func sameLogin(a, b string) bool { return a != "" && strings.EqualFold(a, b) }

// maxInCode bounds a name of somebody else's in a comment, in characters.
const maxInCode = 100

// code shows a name of somebody else's so that nothing in it takes effect.
func code(name string) string {
	shown := []rune(strings.Map(func(r rune) rune {
		if r == '`' || r == unicode.ReplacementChar || !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, name))
	if len(shown) > maxInCode {
		shown = append(shown[:maxInCode-1], '…')
	}
	if len(shown) == 0 {
		return "(none)"
	}
	return "`" + string(shown) + "`"
}

func capital(text string) string { return strings.ToUpper(text[:1]) + text[1:] }

func lower(text string) string { return strings.ToLower(text[:1]) + text[1:] }
