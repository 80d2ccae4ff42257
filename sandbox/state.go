package sandbox

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// firstID keeps ids apart from numbers of pull requests, so that a mix-up is seen.
const firstID = 1_000

// state is everything that the sandbox remembers outside git.
type state struct {
	webhookURL string
	latency    time.Duration
	faultShare float64
	lostShare  float64
	faults     []*fault // in the order in which they were asked for
	chance     *rand.Rand
	pages      http.Handler
	changes    chan struct{}

	lastID        int64
	accounts      map[string]*account // by lower-case login
	teams         map[string]*team    // by lower-case org/slug
	repositories  []*Repository
	installations []*installation
	tokens        map[string]*token
	limits        map[string]*rateWindow // by credential

	contentPerMinute, contentPerHour int                   // writes of one installation; 0 is no limit
	content                          map[int64][]time.Time // writes of the last hour, by installation
	contentRefused                   int

	effects    []string
	calls      map[string]int
	unserved   map[string]bool
	deliveries []*delivery
	queue      []*delivery
	queued     chan struct{} // closed when queue gets its first entry

	works         []work        // of Actions
	worked        chan struct{} // closed when works gets its first entry
	busy          int           // machines
	machineLabels []string      // empty: machines for all labels
	noRunDetails  bool
	runtimes      map[string]*job      // by runtime token
	blobs         map[string]*artifact // being uploaded, by the secret part of their address
	offers        map[string]offer

	states                   map[string]*keptState // of Terraform, by name
	stateUser, statePassword string                // who may have them; without a user everybody
}

type account struct {
	id      int64
	login   string
	name    string
	kind    string // User, Organization or Bot
	created time.Time
}

type team struct {
	id      int64
	org     *account
	slug    string
	members map[string]bool // lower-case logins
}

type installation struct {
	id           int64
	account      *account
	repositories []*Repository
	created      time.Time
	suspended    time.Time // zero when it is not
}

// Repository is one repository of a sandbox. All its methods are safe for concurrent use.
type Repository struct {
	sandbox *Sandbox
	id      int64
	owner   *account
	name    string
	dir     string // bare repository
	private bool
	about   string
	parent  *Repository // of a fork
	created time.Time

	acts sync.Mutex // held while git changes; taken before the sandbox's mu, a fork's before its parent's

	// Guarded by the sandbox's mu.
	defaultBranch string
	roles         map[string]Role   // by lower-case login
	branches      map[string]string // name → SHA
	pushed        time.Time
	lastNumber    int
	noIssues      bool // they are switched off in its settings
	threads       map[int]*thread
	labels        []*label
	checks        []*check
	deployments   []*deployment
	forks         []*Repository
	activities    []activity // the oldest first
	actions       actionsState
	action        bool // the files of an action, for everybody to read
}

// thread is an issue, or the issue half of a pull request.
type thread struct {
	id          int64
	number      int
	title, body string
	author      *account
	closed      bool
	reason      string // completed, not_planned or reopened
	viaApp      bool
	created     time.Time
	updated     time.Time
	closedAt    time.Time
	labels      []*label
	comments    []*comment
	pull        *pull // nil for an issue
}

// pull is what a pull request has beyond an issue.
type pull struct {
	id         int64
	head, base side
	draft      bool
	merged     bool
	mergedBy   *account
	mergedAt   time.Time
	mergeSHA   string   // of the merge; while open of the test merge, empty with conflicts
	landed     []string // commits that a squash or rebase made
	reviews    []*review
	facts      pullFacts
}

// side is one end of a pull request.
type side struct {
	repository *Repository
	branch     string
	sha        string
}

// pullFacts is what git says about a pull request.
type pullFacts struct {
	testMerge string // empty when head and base conflict
	commits   []string
	files     int
	additions int
	deletions int
}

type comment struct {
	id        int64
	author    *account
	viaApp    bool
	body      string
	minimized string // reason; empty when it is not
	reactions []*reaction
	created   time.Time
	updated   time.Time
	edits     int
}

type reaction struct {
	id      int64
	user    *account
	content string
	created time.Time
}

type label struct {
	id          int64
	name        string
	color       string
	description string
}

type check struct {
	Check
	actions bool // of GitHub Actions, not of the App
	suite   int64
	created time.Time
	updated time.Time
}

type deployment struct {
	Deployment
	actions bool // of a job
	task    string
	creator *account
	updated time.Time
	payload any
}

func newState(o Options, now time.Time) state {
	st := state{
		latency: o.Latency, faultShare: o.FaultShare, lostShare: o.LostShare, chance: newRand(o.Seed),
		changes: make(chan struct{}), queued: make(chan struct{}), lastID: firstID,
		accounts: map[string]*account{}, teams: map[string]*team{}, tokens: map[string]*token{},
		limits: map[string]*rateWindow{}, content: map[int64][]time.Time{}, calls: map[string]int{}, unserved: map[string]bool{},
		worked: make(chan struct{}), runtimes: map[string]*job{}, blobs: map[string]*artifact{}, offers: map[string]offer{},
		states: map[string]*keptState{},
	}
	st.addAccount("github", "GitHub", "Organization", now) // owns the App
	st.addAccount(appSlug+"[bot]", appName, "Bot", now)
	st.addAccount(actionsSlug+"[bot]", actionsSlug, "Bot", now)
	return st
}

func (st *state) nextID() int64 {
	st.lastID++
	return st.lastID
}

func (st *state) addAccount(login, name, kind string, now time.Time) {
	st.accounts[strings.ToLower(login)] = &account{
		id: st.nextID(), login: login, name: cmp.Or(name, login), kind: kind, created: now,
	}
}

func (st *state) bot() *account { return st.accounts[appSlug+"[bot]"] }

// account finds a person, an organisation or a bot; GitHub ignores case in logins.
func (st *state) account(login string) (*account, error) {
	a, ok := st.accounts[strings.ToLower(login)]
	if !ok {
		return nil, fmt.Errorf("the sandbox has no account %q", login)
	}
	return a, nil
}

func (st *state) find(owner, name string) *Repository {
	for _, r := range st.repositories {
		if strings.EqualFold(r.owner.login, owner) && strings.EqualFold(r.name, name) {
			return r
		}
	}
	return nil
}

// installed finds the installation that has r.
func (st *state) installed(r *Repository) *installation {
	for _, i := range st.installations {
		if slices.Contains(i.repositories, r) {
			return i
		}
	}
	return nil
}

// CreateOrg adds an organisation.
func (s *Sandbox) CreateOrg(login string) error { return s.create(login, "", "Organization") }

// AddPerson adds an account that can act.
func (s *Sandbox) AddPerson(p Person) error {
	kind := "User"
	if p.Bot {
		kind = "Bot"
	}
	return s.create(p.Login, p.Name, kind)
}

func (s *Sandbox) create(login, name, kind string) error {
	if login == "" {
		return errors.New("an account needs a login")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := s.account(login); err == nil {
		return fmt.Errorf("the account %q exists already", login)
	}
	s.addAccount(login, name, kind, s.now())
	s.change()
	return nil
}

// CreateTeam adds a team to an organisation. The members must exist.
func (s *Sandbox) CreateTeam(org, slug string, members ...string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	owner, err := s.account(org)
	if err != nil {
		return err
	}
	t := &team{id: s.nextID(), org: owner, slug: slug, members: map[string]bool{}}
	for _, login := range members {
		if _, err := s.account(login); err != nil {
			return err
		}
		t.members[strings.ToLower(login)] = true
	}
	s.teams[strings.ToLower(org+"/"+slug)] = t
	s.change()
	return nil
}

// People are the accounts that can act, in the order in which they were added, without the App's own bot.
func (s *Sandbox) People() []Person {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []*account
	for _, a := range s.accounts {
		if a.kind != "Organization" && a != s.bot() && a != s.actionsBot() {
			all = append(all, a)
		}
	}
	slices.SortFunc(all, func(a, b *account) int { return cmp.Compare(a.id, b.id) })
	people := make([]Person, 0, len(all))
	for _, a := range all {
		people = append(people, Person{Login: a.login, Name: a.name, Bot: a.kind == "Bot"})
	}
	return people
}

// Repositories are all repositories, forks too, in the order in which they were made; those of actions are not among them.
func (s *Sandbox) Repositories() []*Repository {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(s.repositories), func(r *Repository) bool { return r.action })
}

// Repository finds a repository; case does not matter.
func (s *Sandbox) Repository(owner, name string) (*Repository, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.find(owner, name)
	return r, r != nil
}

// CreateRepository makes a repository with its first branches. No webhook is sent for them.
func (s *Sandbox) CreateRepository(ctx context.Context, owner, name string, seed Seed) (*Repository, error) {
	if len(seed.Branches) == 0 {
		return nil, fmt.Errorf("create repository %s/%s: Seed.Branches is empty", owner, name)
	}
	r, err := s.newRepository(owner, name)
	if err != nil {
		return nil, err
	}
	r.private, r.about = seed.Private, seed.Description
	r.defaultBranch = cmp.Or(seed.DefaultBranch, seed.Branches[0].Name)
	for login, role := range seed.Roles {
		if !role.valid() {
			return nil, fmt.Errorf("create repository %s/%s: %s has the unknown role %q", owner, name, login, role)
		}
		r.roles[strings.ToLower(login)] = role
	}
	if err := s.git.initRepository(ctx, r.dir, r.defaultBranch); err != nil {
		return nil, err
	}
	for i, b := range seed.Branches {
		if err := r.seedBranch(ctx, b, cmp.Or(b.From, seed.Branches[0].Name), i == 0); err != nil {
			return nil, fmt.Errorf("seed branch %q: %w", b.Name, err)
		}
	}
	if r.branches[r.defaultBranch] == "" {
		return nil, fmt.Errorf("create repository %s/%s: the default branch %q is not among Seed.Branches", owner, name, r.defaultBranch)
	}
	return r, s.adopt(r)
}

// adopt makes a repository known.
func (s *Sandbox) adopt(r *Repository) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.find(r.owner.login, r.name) != nil {
		return fmt.Errorf("the repository %s exists already", r.FullName())
	}
	s.repositories = append(s.repositories, r)
	s.change()
	return nil
}

// newRepository gives a repository its id and place on disk; the names play no part in either.
func (s *Sandbox) newRepository(owner, name string) (*Repository, error) {
	if name == "" || strings.Contains(name, "/") {
		return nil, fmt.Errorf("a repository cannot be named %q", name)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	a, err := s.account(owner)
	if err != nil {
		return nil, err
	}
	if s.find(owner, name) != nil {
		return nil, fmt.Errorf("the repository %s/%s exists already", owner, name)
	}
	id := s.nextID()
	return &Repository{
		sandbox: s, id: id, owner: a, name: name, dir: filepath.Join(s.dir, strconv.FormatInt(id, 10)+".git"),
		roles: map[string]Role{}, branches: map[string]string{}, threads: map[int]*thread{}, created: s.now(), pushed: s.now(),
		actions: newActionsState(),
	}, nil
}

// ID is the repository's id.
func (r *Repository) ID() int64 { return r.id }

// Owner is the login of the repository's owner.
func (r *Repository) Owner() string { return r.owner.login }

// Name is the repository's name without its owner.
func (r *Repository) Name() string { return r.name }

// FullName is owner/name.
func (r *Repository) FullName() string { return r.owner.login + "/" + r.name }

// HTMLURL is the address of the repository's page.
func (r *Repository) HTMLURL() string {
	return r.sandbox.url + "/" + url.PathEscape(r.owner.login) + "/" + url.PathEscape(r.name)
}

// CloneURL is the address that git clones from, with an installation token.
func (r *Repository) CloneURL() string { return r.HTMLURL() + ".git" }

// DefaultBranch is the name of the default branch.
func (r *Repository) DefaultBranch() string {
	r.sandbox.mu.Lock()
	defer r.sandbox.mu.Unlock()
	return r.defaultBranch
}

// Role is what the person may do here.
func (r *Repository) Role(login string) Role {
	r.sandbox.mu.Lock()
	defer r.sandbox.mu.Unlock()
	return r.role(login)
}

// SetRole changes what a person may do here. GitHub sends no event for it that the App gets.
func (r *Repository) SetRole(login string, role Role) {
	r.sandbox.mu.Lock()
	defer r.sandbox.mu.Unlock()
	r.roles[strings.ToLower(login)] = role
	r.sandbox.change()
}

// SetIssues switches issues on or off, as a repository's settings do. Those that there are cannot be seen while they are off.
func (r *Repository) SetIssues(on bool) {
	r.sandbox.mu.Lock()
	defer r.sandbox.mu.Unlock()
	r.noIssues = !on
}

func (r *Repository) seedBranch(ctx context.Context, b SeedBranch, from string, first bool) error {
	if err := r.sandbox.git.checkBranch(ctx, b.Name); err != nil {
		return err
	}
	start := r.branches[from]
	if first {
		start = ""
	} else if start == "" {
		return fmt.Errorf("there is no branch %q to start at", from)
	}
	if len(b.Files) == 0 && start != "" {
		r.branches[b.Name] = start
		return r.sandbox.git.updateRef(ctx, r.dir, "refs/heads/"+b.Name, start)
	}
	author := r.owner
	r.sandbox.mu.Lock()
	if a, err := r.sandbox.account(b.As); err == nil {
		author = a
	}
	r.sandbox.mu.Unlock()
	sha, err := r.sandbox.git.commit(ctx, r.dir, newCommit{
		ref: "refs/heads/" + b.Name, parent: start, author: author, message: cmp.Or(b.Message, "Start of "+b.Name),
		files: b.Files, when: r.sandbox.now(),
	})
	r.branches[b.Name] = sha
	return err
}

func (r *Repository) apiURL() string {
	return r.sandbox.APIURL() + "/repos/" + url.PathEscape(r.owner.login) + "/" + url.PathEscape(r.name)
}

// role is the strongest of what was given and what everybody has. The caller holds mu.
func (r *Repository) role(login string) Role {
	switch given, ok := r.roles[strings.ToLower(login)]; {
	case strings.EqualFold(login, r.owner.login):
		return Admin
	case ok && given != None:
		return given
	case r.private:
		return None
	default:
		return Read
	}
}

// roleOrder is weakest first.
func roleOrder() []Role { return []Role{None, Read, Triage, Write, Maintain, Admin} }

func (role Role) valid() bool { return slices.Contains(roleOrder(), role) }

// atLeast reports whether the role includes what other may do.
func (role Role) atLeast(other Role) bool {
	return slices.Index(roleOrder(), role) >= slices.Index(roleOrder(), other)
}

// permission is the coarse word that GitHub had before roles.
// https://docs.github.com/en/rest/collaborators/collaborators#get-repository-permissions-for-a-user
func (role Role) permission() string {
	switch role {
	case Maintain:
		return string(Write)
	case Triage:
		return string(Read)
	case None, Read, Write, Admin:
	}
	return string(role)
}
