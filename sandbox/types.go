package sandbox

import (
	"net/http"
	"time"

	"github.com/rs/zerolog"
)

// Options say how a sandbox behaves. Only Dir is required.
type Options struct {
	Dir  string // where the repositories are kept; made if it does not exist
	Addr string // address to listen on, loopback only; "127.0.0.1:0" when empty

	Latency    time.Duration // added to every API call
	FaultShare float64       // share of API calls, 0 to 1, that answer 502 and do nothing
	LostShare  float64       // share of API calls, 0 to 1, that do their work and then answer 502
	Seed       int64         // of the choice which calls fail
	RateLimit  int           // API calls per hour and installation; 5,000 when 0

	Permissions map[string]string // of the App: key → read or write; DefaultPermissions when nil
	Events      []string          // that the App subscribes to; DefaultEvents when nil
	Actions     *ActionsOptions   // GitHub Actions; nil: switched off everywhere

	Now     func() time.Time // the clock of all times and expiries; time.Now when nil
	Observe func(Exchange)   // told every API call and every webhook, one at a time; must not call back
	Log     zerolog.Logger
}

// Exchange is one HTTP request with its response: an API call that the sandbox answered, or a webhook
// that it sent. Credentials in it are blanked.
type Exchange struct {
	Event string // name of the webhook event; empty for an API call

	Method string
	Path   string // of an API call: without /api/v3; escaped as it was sent
	Query  string
	Route  string // "GET /repos/{owner}/{repo}"; empty when the path is not served
	Fault  bool   // the answer is a fault that was asked for

	RequestHeader  http.Header
	RequestBody    []byte
	Status         int // 0 when there was no answer
	ResponseHeader http.Header
	ResponseBody   []byte
}

// Role is what a person may do in a repository.
type Role string

// The roles, from the weakest. None is what everybody has in a private repository; in a public one it is Read.
const (
	None     Role = "none"
	Read     Role = "read"
	Triage   Role = "triage"
	Write    Role = "write"
	Maintain Role = "maintain"
	Admin    Role = "admin"
)

// Person is an account that acts through the Go API.
type Person struct {
	Login string
	Name  string // shown on commits; the login when empty
	Bot   bool
}

// Seed is what a new repository holds.
type Seed struct {
	Branches      []SeedBranch // at least one, in the order in which they are made
	DefaultBranch string       // the first branch when empty
	Roles         map[string]Role
	Private       bool
	Description   string
}

// SeedBranch is one branch of a new repository.
type SeedBranch struct {
	Name    string
	From    string            // branch that it starts at; the first branch when empty
	Files   map[string]string // path → content, added to those of From; without any, the branch points at From's commit
	Message string            // of its commit
	As      string            // login of its author; the first person when empty
}

// PushOptions say how a push is made.
type PushOptions struct {
	From   string            // branch at which a new branch starts; the default branch when empty
	Force  bool              // with From: start the branch anew there; without: replace its newest commit
	Delete []string          // paths to remove
	Modes  map[string]string // path → git file mode, e.g. "100755" or "120000"; "100644" when absent
	Email  string            // of the commit; when empty one that belongs to the account of who pushes
}

// Pull is a pull request to open.
type Pull struct {
	From  string // head branch; "login:branch" for a branch of that person's fork
	To    string // base branch; the default branch when empty
	Title string // the subject of the newest commit when empty
	Body  string
	Draft bool
}

// Branch is one end of a pull request.
type Branch struct {
	Repository string // full name
	Name       string
	SHA        string
}

// PullView is a pull request as GitHub would show it.
type PullView struct {
	ID             int64
	Number         int
	Title, Body    string
	State          string // open, closed or merged
	Draft          bool
	Author         string
	Head, Base     Branch
	Fork           bool   // the head is in another repository
	Mergeable      bool   // head and base do not conflict
	MergeCommit    string // what a merge made; empty before
	MergedBy       string
	Labels         []string
	Comments       []Comment
	Reviews        []Review // submitted ones, oldest first
	Checks         []Check  // newest of each name on the head
	Commits        []string
	ChangedFiles   int
	Additions      int
	Deletions      int
	CreatedAt      time.Time
	UpdatedAt      time.Time
	ClosedAt       time.Time // zero while open
	AuthorIsBot    bool
	HeadExists     bool // its branch was not deleted
	MergedAt       time.Time
	TestMergeHead  string // refs/pull/N/merge, while open and without conflict
	HTMLURL        string
	RepositoryName string // full name of the base repository
}

// Comment is one comment of a pull request or issue.
type Comment struct {
	ID              int64
	NodeID          string
	Author          string
	Bot             bool
	Body            string
	Minimized       bool
	MinimizedReason string // as GitHub shows it: outdated, resolved…
	Reactions       map[string]int
	CreatedAt       time.Time
	UpdatedAt       time.Time
	Edits           int
}

// Review is one submitted review of a pull request.
type Review struct {
	ID          int64
	Author      string
	Bot         bool
	State       string // Approved, ChangesRequested, Commented or Dismissed
	Body        string
	Commit      string // the head when it was made
	SubmittedAt time.Time
}

// Check is one check run.
type Check struct {
	ID                   int64
	Name                 string
	HeadSHA              string
	Status               string // queued, in_progress or completed
	Conclusion           string // empty until completed
	Title, Summary, Text string
	DetailsURL           string
	ExternalID           string
	Actions              []CheckAction
	StartedAt            time.Time
	CompletedAt          time.Time // zero until completed
	Updates              int       // PATCH calls that it got
	App                  string    // slug of the App that made it
}

// CheckAction is a button of a check run.
type CheckAction struct {
	Label       string `json:"label"`
	Description string `json:"description"`
	Identifier  string `json:"identifier"`
}

// IssueView is an issue as GitHub would show it.
type IssueView struct {
	ID          int64
	Number      int
	Title, Body string
	State       string // open or closed
	Author      string
	Labels      []string
	Comments    []Comment
	CreatedAt   time.Time
	UpdatedAt   time.Time
	ClosedAt    time.Time // zero while open
}

// Deployment is one deployment with its statuses.
type Deployment struct {
	ID          int64
	SHA         string
	Ref         string
	Environment string
	Description string
	Payload     string // JSON
	Production  bool
	Transient   bool
	Creator     string
	CreatedAt   time.Time
	States      []DeploymentStatus // oldest first
}

// DeploymentStatus is one status of a deployment.
type DeploymentStatus struct {
	ID             int64
	State          string
	Description    string
	LogURL         string
	EnvironmentURL string
	CreatedAt      time.Time

	actions bool // by the job that made the deployment
}

// Commit is one commit as a list shows it.
type Commit struct {
	SHA     string
	Author  string // name
	Subject string
	Time    time.Time
}

// Delivery is one attempt to deliver a webhook.
type Delivery struct {
	ID          int64
	GUID        string // the same in each attempt
	Event       string
	Action      string
	Redelivery  bool
	DeliveredAt time.Time
	Duration    time.Duration
	Status      string // "OK", or words that say what went wrong
	StatusCode  int    // 0 until answered; 502 when there was no answer
	Repository  string // full name; empty for events of an installation
	Headers     http.Header
	Payload     []byte
	Response    string
}

// MergeGroup is a group of pull requests that a merge queue tests together.
type MergeGroup struct {
	Ref  string // refs/heads/gh-readonly-queue/…
	Base string
	SHA  string
}
