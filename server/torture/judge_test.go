package torture_test

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"maps"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver
	_ "modernc.org/sqlite"             // the driver
)

// question opens the servers' database, to ask it.
func (w *world) question() *sql.DB {
	w.Helper()
	driver, source := "pgx", w.database
	if source == "" {
		driver = "sqlite"
		source = "file:" + filepath.Join(w.replicas[0].data, "switchyard.db") + "?_pragma=query_only(1)&_pragma=busy_timeout(5000)"
	}
	db, err := sql.Open(driver, source)
	w.must(err)
	w.Cleanup(func() { _ = db.Close() })
	return db
}

// unsettled says what is still to be done.
const unsettled = `SELECT 'job ' || kind || ' ' || key || ': ' || reason FROM jobs WHERE state <> 'dead' AND kind <> 'sweep'
	UNION ALL SELECT 'surface ' || key || ': ' || problem FROM surfaces WHERE version > written
	UNION ALL SELECT 'operation ' || CAST(id AS TEXT) || ' ' || kind || ' ' || name || ' ' || environment || ' is ' || state
		FROM operations WHERE state IN ('queued', 'running')`

// settle waits until the servers have nothing left to do and GitHub has every delivery accepted.
func (w *world) settle() {
	w.Helper()
	db := w.question()
	ctx, cancel := context.WithTimeout(w.Context(), settleLimit)
	defer cancel()
	ticker := time.NewTicker(200 * time.Millisecond) //nolint:forbidigo // another process gives no signal
	defer ticker.Stop()
	for calm := 0; calm < 10; { // for two seconds: between a delivery and its job there is a gap
		select {
		case <-ticker.C:
		case <-ctx.Done():
			w.Fatalf("after %s there is still to do:\n%s\nlost deliveries: %v\nlogs in %s", settleLimit,
				strings.Join(w.texts(db, unsettled), "\n"), w.lostDeliveries(db), w.dir)
		}
		calm++
		if len(w.texts(db, unsettled)) > 0 || len(w.lostDeliveries(db)) > 0 {
			calm = 0
		}
	}
}

// lostDeliveries are those that no server has accepted yet in any attempt.
func (w *world) lostDeliveries(db *sql.DB) []string {
	stored := map[string]bool{} // a server that was killed before it could answer has them too
	for _, guid := range w.texts(db, `SELECT guid FROM deliveries`) {
		stored[guid] = true
	}
	var lost []string
	for _, d := range w.box.Deliveries() {
		if _, ok := w.balancer.accepted.Load(d.GUID); !ok && !stored[d.GUID] {
			lost = append(lost, d.Event+" "+d.Action+" "+d.GUID)
		}
	}
	return lost
}

func (w *world) texts(db *sql.DB, query string, args ...any) []string {
	w.Helper()
	rows, err := db.QueryContext(w.Context(), query, args...)
	w.must(err)
	defer func() { _ = rows.Close() }()
	var all []string
	for rows.Next() {
		var text string
		w.must(rows.Scan(&text))
		all = append(all, text)
	}
	w.must(rows.Err())
	return all
}

// judge asks whether all that was promised was kept. It collects what is there; what is wrong with it is said by
// functions of their own, each of which is tested with a world in which its promise is broken.
func (w *world) judge() {
	w.Helper()
	db := w.question()
	journal, err := readJournal(w.fake)
	w.must(err)
	w.report(overlaps(journal), repeats(journal), reals(journal, w.repos))
	w.judgeOrder(db, journal)
	w.judgeOutcome(db)
	w.judgeSurfaces(db)
	targets, operations, byReal := map[string]bool{}, map[int64]bool{}, map[int64]bool{}
	for _, e := range journal {
		targets[e.Target], operations[e.Operation] = true, true
		if e.Real {
			byReal[e.Operation] = true
		}
	}
	w.Logf("%d applies of %d targets, %d of them with the real Terraform", len(operations), len(targets), len(byReal))
	if w.Failed() {
		w.Logf("logs and databases are in %s", w.dir)
	}
}

func (w *world) report(all ...[]string) {
	w.Helper()
	for _, fault := range slices.Concat(all...) {
		w.Error(fault)
	}
}

// judgeOrder asks in which order applies began: as the database tells it, which knows those with nothing to change
// too, and as the journal does, which is there whatever the servers believe.
func (w *world) judgeOrder(db *sql.DB, journal []entry) {
	w.Helper()
	rows, err := db.QueryContext(w.Context(), `SELECT id, name || ' ' || environment, priority, arrived, started, attempt FROM operations
		WHERE exclusive = 1 AND started > 0 AND confirmed = ''`)
	w.must(err)
	defer func() { _ = rows.Close() }()
	lines := map[int64]int64{} // operation → line of the journal
	for i, e := range journal {
		if _, ok := lines[e.Operation]; !ok {
			lines[e.Operation] = int64(i)
		}
	}
	var told, done []turn
	for rows.Next() {
		var t turn
		var attempt int
		w.must(rows.Scan(&t.id, &t.hold, &t.priority, &t.arrived, &t.began, &attempt))
		if attempt == 1 { // else it began, was put back and began anew
			told = append(told, t)
		}
		if line, ok := lines[t.id]; ok {
			t.began = line
			done = append(done, t)
		}
	}
	w.must(rows.Err())
	w.report(disorder(told), disorder(done))
}

// branches are the branches that deploy, with their environments.
var branches = map[string]string{"develop": "dev", "release/1": "test", "main": "prod"} //nolint:gochecknoglobals // a constant in all but name

// judgeOutcome: every commit of a mapped branch is applied, or an operation says with words why it is not.
func (w *world) judgeOutcome(db *sql.DB) {
	w.Helper()
	for _, reason := range w.texts(db, `SELECT kind || ' ' || key || ': ' || reason FROM jobs WHERE state = 'dead'`) {
		w.Errorf("job given up: %s", reason)
	}
	for _, op := range w.texts(db, `SELECT CAST(id AS TEXT) || ' ' || kind || ' ' || name || ' ' || environment || ' ' || state || ': ' || message
		FROM operations WHERE state IN ('interrupted', 'failed') ORDER BY id LIMIT 20`) {
		w.Errorf("neither Terraform nor a runner ever fails here, but operation %s", op)
	}
	for _, hold := range w.texts(db, `SELECT CAST(repository AS TEXT) || ' ' || environment || ' by operation ' || CAST(operation AS TEXT)
		FROM holds WHERE released IS NULL`) {
		w.Errorf("a hold was never given back: %s", hold)
	}
	words := map[string]string{} // repository, environment and commit → why it is not applied
	for _, line := range w.texts(db, `SELECT name || ' ' || environment || ' ' || head || ' ' || state || ' ' || message FROM operations
		WHERE exclusive = 1 AND state IN ('unconfirmed', 'failed', 'cancelled') AND message <> '' ORDER BY id`) {
		fields := strings.SplitN(line, " ", 4)
		words[strings.Join(fields[:3], " ")] = fields[3]
	}
	applied := map[string]target{} // repository, environment and root → what was done there
	for _, line := range w.texts(db, `SELECT repositories.name || ' ' || environment || ' ' || root || ',' || applied || ',' || baseline
		FROM targets JOIN repositories ON repositories.id = targets.repository`) {
		fields := strings.Split(line, ",")
		applied[fields[0]] = target{applied: fields[1], baseline: fields[2]}
	}
	outcomes := map[string]int{}
	for _, r := range w.repos {
		for branch, environment := range branches {
			tip := r.Branches()[branch]
			where := r.Name() + " " + environment
			why, explained := words[where+" "+tip]
			left := 0
			for _, root := range r.roots {
				t := applied[where+" "+root]
				w.judgeState(r, environment, root, t.applied)
				if !maps.Equal(w.files(r, root, cmp.Or(t.applied, t.baseline)), w.files(r, root, tip)) {
					left++
				}
			}
			switch {
			case left == 0:
				outcomes["applied"]++
			case explained:
				state, _, _ := strings.Cut(why, " ")
				outcomes[state]++
			default:
				w.Errorf("%s: %s is at %s, which is not applied in %d roots, and nothing says why: %v", where, branch, tip[:7], left, applied)
			}
		}
	}
	w.Logf("environments: %v", outcomes)
}

// target is what the servers believe of a root in an environment: commits.
type target struct{ applied, baseline string }

// files are the resources of a root at a commit, each with the hash that the stand-in for Terraform makes of it.
func (w *world) files(r *repository, root, commit string) map[string]string {
	w.Helper()
	files := map[string]string{}
	if commit == "" {
		return files
	}
	dir := filepath.Join(w.dir, "github", strconv.FormatInt(r.ID(), 10)+".git")
	//nolint:gosec // the test's
	list, err := exec.CommandContext(w.Context(), "git", "--git-dir", dir, "ls-tree", "--name-only", commit, root+"/").Output()
	w.must(err)
	for path := range strings.Lines(string(list)) {
		path = strings.TrimSpace(path)
		name, ours := strings.CutSuffix(filepath.Base(path), ".tf")
		if !ours || name == "main" {
			continue
		}
		text, _, err := r.ReadFile(w.Context(), commit, path)
		w.must(err)
		files[name] = hashOf([]byte(text))
	}
	return files
}

// judgeState asks whether Terraform's own state is what the servers believe they have applied.
func (w *world) judgeState(r *repository, environment, root, applied string) {
	w.Helper()
	name := r.Name() + "-" + environment
	if root != "infra" {
		name = r.Name() + "-" + root + "-" + environment
	}
	have, err := resourcesIn(filepath.Join(w.dir, "states", name+".tfstate"))
	w.must(err)
	want := w.files(r, root, applied)
	if r.real {
		for resource := range want {
			want[resource] = "" // its state has no hashes
		}
	}
	if applied != "" && !maps.Equal(have, want) {
		w.Errorf("%s: %s was applied, so the state should have %v; it has %v", name, applied[:7], want, have)
	}
	if applied == "" && len(have) > 0 {
		w.Errorf("%s: nothing was applied, but the state has %v", name, have)
	}
}

// judgeSurfaces: what GitHub shows is final, there once, and all that was asked for.
func (w *world) judgeSurfaces(db *sql.DB) {
	w.Helper()
	asking := map[string]bool{} // repository, environment and commit that wait for a person
	for _, where := range w.texts(db, `SELECT name || ' ' || environment || ' ' || head FROM operations WHERE state = 'unconfirmed'`) {
		asking[where] = true
	}
	wanted := map[string]string{} // repository and pull request → its comment
	for _, text := range w.texts(db, `SELECT name || ' ' || wanted FROM surfaces WHERE kind = 'comment'`) {
		name, data, _ := strings.Cut(text, " ")
		var comment struct {
			Number int
			Body   string
		}
		w.must(json.Unmarshal([]byte(data), &comment))
		wanted[fmt.Sprintf("%s#%d", name, comment.Number)] = comment.Body
	}
	answers := 0
	for _, r := range w.repos {
		for _, pull := range r.Pulls() {
			name := fmt.Sprintf("%s#%d", r.Name(), pull.Number)
			w.report(planComments(name, pull, wanted[name]), unanswered(name, pull.Comments), missingChecks(name, pull))
			answers += len(commandsOf(pull.Comments))
		}
		for sha := range maps.Keys(r.heads) {
			w.report(openChecks(r.Name(), r.Checks(sha)))
		}
		w.report(openDeployments(r.Name(), r.Deployments(""), asking))
	}
	w.Logf("%d commands were answered", answers)
}
