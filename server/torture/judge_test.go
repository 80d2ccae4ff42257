package torture_test

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver
	_ "modernc.org/sqlite"             // the driver

	"github.com/switchyard-dev/switchyard/sandbox"
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

// judge asks whether all that was promised was kept.
func (w *world) judge() {
	w.Helper()
	db := w.question()
	w.judgeJournal()
	w.judgeOrder(db)
	w.judgeOutcome(db)
	asking := map[string]bool{} // repository, environment and commit that wait for a person
	for _, where := range w.texts(db, `SELECT name || ' ' || environment || ' ' || head FROM operations WHERE state = 'unconfirmed'`) {
		asking[where] = true
	}
	for _, r := range w.repos {
		w.judgeComments(r)
		w.judgeChecks(r, asking)
	}
	if w.Failed() {
		w.Logf("logs and databases are in %s", w.dir)
	}
}

// judgeJournal: no two applies of one target overlapped, each that began has ended, and none was done twice.
func (w *world) judgeJournal() {
	w.Helper()
	journal, err := readJournal(w.fake)
	w.must(err)
	busy := map[string]entry{}
	begun := map[int64]int{}
	for _, e := range journal {
		switch e.What {
		case "begin":
			if other, ok := busy[e.Target]; ok {
				w.Errorf("%s: operation %d began while %d was applying", e.Target, e.Operation, other.Operation)
			}
			busy[e.Target] = e
			begun[e.Operation]++
		case "end":
			delete(busy, e.Target)
		default:
			w.Errorf("%s: operation %d: %s", e.Target, e.Operation, e.What)
		}
	}
	for target, e := range busy {
		w.Errorf("%s: operation %d began and never ended", target, e.Operation)
	}
	for id, times := range begun {
		if times > 1 {
			w.Errorf("operation %d was applied %d times", id, times)
		}
	}
	w.Logf("%d applies of %d targets", len(begun), countTargets(journal))
}

func countTargets(journal []entry) int {
	targets := map[string]bool{}
	for _, e := range journal {
		targets[e.Target] = true
	}
	return len(targets)
}

// started is an apply as the database tells of it.
type started struct {
	id, arrived, started int64
}

// judgeOrder: the applies of one hold began in the order of their arrival within their priority.
func (w *world) judgeOrder(db *sql.DB) {
	w.Helper()
	rows, err := db.QueryContext(w.Context(), `SELECT id, name, environment, priority, arrived, started FROM operations
		WHERE exclusive = 1 AND started > 0 AND attempt = 1 AND confirmed = ''`)
	w.must(err)
	defer func() { _ = rows.Close() }()
	holds := map[string][]started{}
	for rows.Next() {
		var s started
		var name, environment string
		var priority int
		w.must(rows.Scan(&s.id, &name, &environment, &priority, &s.arrived, &s.started))
		hold := fmt.Sprintf("%s %s %d", name, environment, priority)
		holds[hold] = append(holds[hold], s)
	}
	w.must(rows.Err())
	for hold, ops := range holds {
		slices.SortFunc(ops, func(a, b started) int { return cmp.Or(cmp.Compare(a.started, b.started), cmp.Compare(a.id, b.id)) })
		for i := 1; i < len(ops); i++ {
			if ops[i].arrived < ops[i-1].arrived && ops[i].id < ops[i-1].id { // a later one may have the arrival of what it gathered
				w.Errorf("%s: operation %d began before %d, which had arrived earlier", hold, ops[i-1].id, ops[i].id)
			}
		}
	}
}

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
	words := map[string]string{} // repository, environment and commit → why it is not applied
	for _, line := range w.texts(db, `SELECT name || ' ' || environment || ' ' || head || ' ' || state || ' ' || message FROM operations
		WHERE exclusive = 1 AND state IN ('unconfirmed', 'failed', 'cancelled') ORDER BY id`) {
		fields := strings.SplitN(line, " ", 4)
		words[strings.Join(fields[:3], " ")] = fields[3]
	}
	applied := map[string]string{}
	for _, line := range w.texts(db, `SELECT repositories.name || ' ' || environment || ' ' || applied || ' ' || baseline
		FROM targets JOIN repositories ON repositories.id = targets.repository`) {
		fields := strings.Split(line, " ")
		applied[fields[0]+" "+fields[1]] = cmp.Or(fields[2], fields[3])
	}
	outcomes := map[string]int{}
	for _, r := range w.repos {
		for branch, environment := range map[string]string{"develop": "dev", "release/1": "test", "main": "prod"} {
			tip := r.Branches()[branch]
			where := r.Name() + " " + environment
			why, explained := words[where+" "+tip]
			switch {
			case applied[where] == tip:
				outcomes["applied"]++
			case explained:
				state, _, _ := strings.Cut(why, " ")
				outcomes[state]++
			default:
				w.Errorf("%s: %s is at %s, but %q was applied last, and nothing says why", where, branch, tip[:7], applied[where])
			}
		}
	}
	w.Logf("environments: %v", outcomes)
}

// judgeComments: each open pull request has exactly one plan comment that is not minimised, and it is about its head.
func (w *world) judgeComments(r *repository) {
	w.Helper()
	for _, pull := range r.Pulls() {
		var plans []sandbox.Comment
		for _, comment := range pull.Comments {
			if comment.Bot && !comment.Minimized && strings.Contains(comment.Body, "<!-- switchyard:pull:") {
				plans = append(plans, comment)
			}
		}
		if len(plans) > 1 || (pull.State == "open" && len(plans) != 1) {
			w.Errorf("%s#%d, %s: %d plan comments", r.Name(), pull.Number, pull.State, len(plans))
			continue
		}
		if pull.State == "open" && !strings.Contains(plans[0].Body, pull.Head.SHA[:7]) {
			w.Errorf("%s#%d: the plan comment is not about %s:\n%s", r.Name(), pull.Number, pull.Head.SHA[:7], plans[0].Body)
		}
	}
}

// judgeChecks: no check is left open.
func (w *world) judgeChecks(r *repository, asking map[string]bool) {
	w.Helper()
	for sha := range maps.Keys(r.heads) {
		for _, check := range r.Checks(sha) {
			if check.Status != "completed" {
				w.Errorf("%s: check %q of %s is %s", r.Name(), check.Name, sha[:7], check.Status)
			}
		}
	}
	for _, deployment := range r.Deployments("") {
		if len(deployment.States) == 0 {
			w.Errorf("%s: deployment %d to %s has no status", r.Name(), deployment.ID, deployment.Environment)
			continue
		}
		switch state := deployment.States[len(deployment.States)-1].State; state {
		case "in_progress", "pending":
			if state == "pending" && asking[r.Name()+" "+deployment.Environment+" "+deployment.SHA] {
				continue
			}
			w.Errorf("%s: deployment %d to %s is %s", r.Name(), deployment.ID, deployment.Environment, state)
		}
	}
}
