package server_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/switchyard-dev/switchyard/sandbox"
	"github.com/switchyard-dev/switchyard/sandbox/story"
	"github.com/switchyard-dev/switchyard/store/pgtest"
)

// load is some server processes on one database, and who sends them signed webhooks as GitHub does.
type load struct {
	*world

	b        *testing.B
	replicas []*replica
	db       *sql.DB
	client   *http.Client
	payload  map[string]any // of a pull request's webhook
	header   http.Header
	repos    []*sandbox.Repository
	sent     []delivery
	pulls    int // opened so far
}

// What a load is made of.
const (
	loadRepos   = 20
	loadPulls   = 25       // of each repository
	loadSenders = 16       // at once
	loadPayload = 20 << 10 // bytes, about what GitHub sends for a pull request
)

// loadKinds are the databases and numbers of replicas that are compared.
var loadKinds = []struct { //nolint:gochecknoglobals // a constant in all but name
	name     string
	replicas int
	postgres bool
}{{"SQLite/replicas=1", 1, false}, {"PostgreSQL/replicas=1", 1, true}, {"PostgreSQL/replicas=3", 3, true}}

// BenchmarkDeliveries sends signed webhooks, each of which is stored with the job that follows before it is answered,
// while the servers do those jobs: as fast as 16 senders can, and then 500 a second whether or not the last one was
// answered. The times are until 200.
func BenchmarkDeliveries(b *testing.B) {
	for _, kind := range loadKinds {
		b.Run(kind.name, func(b *testing.B) {
			l := newLoad(b, kind.replicas, kind.postgres)
			spent := l.processor()
			const atOnce, paced, perSecond = 500, 500, 500
			var fast, steady []time.Duration
			var took time.Duration
			for b.Loop() {
				began := time.Now()
				fast = append(fast, l.sendAll(l.deliveries(atOnce))...)
				took += time.Since(began)
				l.drained()
				steady = append(steady, l.sendPaced(l.deliveries(paced), perSecond)...)
				l.drained()
			}
			l.noneLost()
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(float64(len(fast))/took.Seconds(), "deliveries/s")
			b.ReportMetric(milliseconds(l.processor()-spent)/float64(len(fast)+len(steady)), "processor-ms/delivery")
			b.ReportMetric(percentile(fast, 50), "p50-ms")
			b.ReportMetric(percentile(fast, 99), "p99-ms")
			b.ReportMetric(percentile(steady, 50), "p50-ms-at-500/s")
			b.ReportMetric(percentile(steady, 99), "p99-ms-at-500/s")
		})
	}
}

// BenchmarkBurst sends 10,000 webhooks at once, and counts those that are lost, and those that were given up. Each is a
// look at one of 500 pull requests. Memory is the most that one server took, and what it took before. It takes minutes,
// so that it is done once, however often the others are.
func BenchmarkBurst(b *testing.B) {
	const burst = 10_000
	for _, kind := range loadKinds {
		b.Run(kind.name, func(b *testing.B) {
			for done := false; b.Loop(); done = true {
				if done {
					continue
				}
				l := newLoad(b, kind.replicas, kind.postgres)
				before := l.memory("VmRSS:")
				deliveries := l.deliveries(burst)
				began := time.Now()
				l.sendAll(deliveries)
				accepted := time.Since(began)
				l.drained()
				b.ReportMetric(time.Since(began).Seconds(), "s-to-drain")
				b.ReportMetric(accepted.Seconds(), "s-to-accept")
				b.ReportMetric(float64(l.noneLost()), "lost")
				b.ReportMetric(before, "MiB-before")
				b.ReportMetric(l.memory("VmHWM:"), "MiB-most")
				b.ReportMetric(0, "ns/op")
			}
		})
	}
}

// BenchmarkHandOver is the time from the end of one apply's runner to the start of the next one's in the same
// environment, with a stand-in for Terraform, and divides what it takes longer when each call of GitHub's API does by
// that: so many calls stand between two applies.
func BenchmarkHandOver(b *testing.B) {
	const latency = 150 * time.Millisecond
	for _, kind := range loadKinds {
		b.Run(kind.name, func(b *testing.B) {
			l := newLoad(b, kind.replicas, kind.postgres)
			var quick, slow []time.Duration
			for b.Loop() {
				quick = append(quick, l.handOver(0))
				slow = append(slow, l.handOver(latency))
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(milliseconds(median(quick)), "ms")
			b.ReportMetric(milliseconds(slices.Min(quick)), "ms-least") // what else the machine does only adds to it
			b.ReportMetric(milliseconds(median(slow)), "ms-slow-GitHub")
			b.ReportMetric(float64(median(slow)-median(quick))/float64(latency), "calls-between")
		})
	}
}

func newLoad(b *testing.B, replicas int, postgres bool) *load {
	b.Helper()
	ctx, cancel := context.WithCancel(b.Context())
	dir := b.TempDir()
	box, err := sandbox.Start(ctx, sandbox.Options{Dir: filepath.Join(dir, "github"), RateLimit: 1_000_000, Log: quiet})
	if err != nil {
		b.Fatal(err)
	}
	w := &world{Box: box, States: filepath.Join(dir, "states"), t: b, ctx: ctx, data: filepath.Join(dir, "data")}
	for _, dir := range []string{w.States, w.data} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			b.Fatal(err)
		}
	}
	l := &load{world: w, b: b, client: &http.Client{Timeout: patience, Transport: &http.Transport{MaxIdleConnsPerHost: 1000}}}
	database, driver := "", "sqlite"
	source := "file:" + filepath.Join(w.data, "1", "switchyard.db") + "?_pragma=query_only(1)&_pragma=busy_timeout(5000)"
	if postgres {
		database, driver = pgtest.Durable(b), "pgx"
		source = database
	}
	terraform := l.fakeTerraform()
	for i := range replicas {
		r := w.replica(strconv.Itoa(i+1), database, fmt.Sprintf("SWITCHYARD_REPLICAS=%d", replicas))
		r.terraform = terraform
		r.start()
		l.replicas = append(l.replicas, r)
	}
	l.stop = sync.OnceFunc(func() {
		for _, r := range l.replicas {
			r.kill()
		}
		_ = l.db.Close()
		_ = box.Close()
		cancel()
	})
	b.Cleanup(l.stop)
	if l.db, err = sql.Open(driver, source); err != nil {
		b.Fatal(err)
	}
	box.SetWebhookURL("http://" + l.replicas[0].address + "/api/github/hook")
	l.populate()
	return l
}

// populate makes the repositories, and learns from a real webhook what one looks like.
func (l *load) populate() {
	l.b.Helper()
	files, _ := fleetFiles(1)
	for path, content := range files {
		files[path] = strings.ReplaceAll(content, "STATES", l.States)
	}
	l.repos = []*sandbox.Repository{seedFleet(l.b, l.Box, files)}
	names := []string{"fleet"}
	for i := range loadRepos - 1 {
		names = append(names, fmt.Sprintf("fleet%02d", i+2))
		repo, err := l.Box.CreateRepository(l.ctx, "acme", names[i+1], sandbox.Seed{
			DefaultBranch: "main", Branches: []sandbox.SeedBranch{{Name: "main", Files: files, As: story.Ana}, {Name: "develop", From: "main"}},
			Roles: map[string]sandbox.Role{story.Ana: sandbox.Maintain, story.Ben: sandbox.Write},
		})
		if err != nil {
			l.b.Fatal(err)
		}
		l.repos = append(l.repos, repo)
	}
	if err := l.Box.Install(l.ctx, "acme", names...); err != nil {
		l.b.Fatal(err)
	}
	l.eventually("all repositories are taken in", func() bool { return l.Box.Calls()["GET /repos/{owner}/{repo}/pulls"] >= loadRepos })
	s := &shop{world: l.world, repo: l.repos[0]}
	number := s.open("feature/first", "develop", map[string]string{"infra/r01/first.tf": "# first\n"})
	s.planned(number, "dev")
	for _, delivery := range l.Box.Deliveries() {
		if delivery.Event == "pull_request" && delivery.Action == "opened" {
			l.header = delivery.Headers
			if err := json.Unmarshal(delivery.Payload, &l.payload); err != nil {
				l.b.Fatal(err)
			}
		}
	}
	l.drained()
}

// delivery is one webhook as it is sent.
type delivery struct {
	header http.Header
	body   []byte
}

// deliveries makes webhooks that all have to be stored: new heads of pull requests all over the repositories. GitHub,
// when it is asked, knows none of them.
func (l *load) deliveries(number int) []delivery {
	l.b.Helper()
	all := make([]delivery, number)
	l.payload["action"] = "synchronize"
	for i := range all {
		repo := l.repos[i%len(l.repos)]
		pull := 1000 + i/len(l.repos)%loadPulls
		l.payload["number"] = pull
		l.payload["repository"].(map[string]any)["id"] = repo.ID()
		l.payload["repository"].(map[string]any)["name"] = repo.Name()
		l.payload["repository"].(map[string]any)["full_name"] = repo.FullName()
		l.payload["pull_request"].(map[string]any)["number"] = pull
		l.payload["pull_request"].(map[string]any)["body"] = ""
		short, err := json.Marshal(l.payload)
		if err != nil {
			l.b.Fatal(err)
		}
		l.payload["pull_request"].(map[string]any)["body"] = strings.Repeat("x", max(0, loadPayload-len(short)))
		body, err := json.Marshal(l.payload)
		if err != nil {
			l.b.Fatal(err)
		}
		mac := hmac.New(sha256.New, []byte(l.Box.WebhookSecret()))
		mac.Write(body)
		all[i] = delivery{header: l.header.Clone(), body: body}
		all[i].header.Set("X-Github-Delivery", uuid.NewString())
		all[i].header.Set("X-Hub-Signature-256", "sha256="+hex.EncodeToString(mac.Sum(nil)))
	}
	l.sent = append(l.sent, all...)
	return all
}

// sendAll sends them as fast as some senders can, and gives how long each took until 200.
func (l *load) sendAll(all []delivery) []time.Duration {
	l.b.Helper()
	took := make([]time.Duration, len(all))
	var next atomic.Int64
	var group sync.WaitGroup
	for range loadSenders {
		group.Go(func() {
			for i := int(next.Add(1)) - 1; i < len(all); i = int(next.Add(1)) - 1 {
				began := time.Now()
				l.send(i, all[i])
				took[i] = time.Since(began)
			}
		})
	}
	group.Wait()
	return took
}

// sendPaced sends so many a second, each when its time has come, and gives how long each took until 200.
func (l *load) sendPaced(all []delivery, perSecond int) []time.Duration {
	l.b.Helper()
	took := make([]time.Duration, len(all))
	ticker := time.NewTicker(time.Second / time.Duration(perSecond)) //nolint:forbidigo // the pace is what is measured
	defer ticker.Stop()
	began := time.Now()
	var group sync.WaitGroup
	for i, d := range all {
		due := began.Add(time.Duration(i) * time.Second / time.Duration(perSecond))
		for time.Now().Before(due) {
			<-ticker.C
		}
		group.Go(func() {
			l.send(i, d)
			took[i] = time.Since(due)
		})
	}
	group.Wait()
	return took
}

// send sends one, to the replicas in turn.
func (l *load) send(i int, d delivery) {
	l.b.Helper()
	to := l.replicas[i%len(l.replicas)]
	request, err := http.NewRequestWithContext(l.ctx, http.MethodPost, "http://"+to.address+"/api/github/hook", bytes.NewReader(d.body))
	if err != nil {
		l.b.Error(err)
		return
	}
	request.Header = d.header
	response, err := l.client.Do(request)
	if err != nil {
		l.b.Error(err)
		return
	}
	_, err = io.Copy(io.Discard, response.Body)
	if err := errors.Join(err, response.Body.Close()); err != nil || response.StatusCode != http.StatusOK {
		l.b.Errorf("a delivery was answered with %s, %v", response.Status, err)
	}
}

// drained waits until no job is left.
func (l *load) drained() {
	l.b.Helper()
	ctx, cancel := context.WithTimeout(l.ctx, 30*patience)
	defer cancel()
	ticker := time.NewTicker(20 * time.Millisecond) //nolint:forbidigo // another process gives no signal
	defer ticker.Stop()
	for {
		var open int
		if err := l.db.QueryRowContext(ctx, `SELECT COUNT(*) FROM jobs WHERE state <> 'dead'`).Scan(&open); err != nil {
			l.b.Fatalf("ask whether the servers are done: %v", err)
		}
		if open == 0 {
			return
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			l.b.Fatalf("the servers are not done: %d jobs are left", open)
		}
	}
}

// noneLost counts the deliveries that were sent and that the servers do not know, or have given up.
func (l *load) noneLost() int {
	l.b.Helper()
	rows, err := l.db.QueryContext(l.ctx, `SELECT guid FROM deliveries WHERE guid NOT IN (SELECT cause FROM jobs)`)
	if err != nil {
		l.b.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	known := map[string]bool{}
	for rows.Next() {
		var guid string
		if err := rows.Scan(&guid); err != nil {
			l.b.Fatal(err)
		}
		known[guid] = true
	}
	if err := rows.Err(); err != nil {
		l.b.Fatal(err)
	}
	lost := 0
	for _, d := range l.sent {
		if !known[d.header.Get("X-Github-Delivery")] {
			lost++
		}
	}
	if lost > 0 {
		l.b.Errorf("%d of %d deliveries were lost", lost, len(l.sent))
	}
	return lost
}

// memory is that of the server that has the most, in MiB.
// https://man7.org/linux/man-pages/man5/proc_pid_status.5.html
func (l *load) memory(field string) float64 {
	l.b.Helper()
	most := 0.0
	for _, r := range l.replicas {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", r.cmd.Process.Pid))
		if err != nil {
			l.b.Skipf("this system does not say how much memory a process has: %v", err)
		}
		_, rest, _ := strings.Cut(string(status), field)
		var kib float64
		if _, err := fmt.Sscan(rest, &kib); err != nil {
			l.b.Fatal(err)
		}
		most = max(most, kib/(1<<10))
	}
	return most
}

// processor is the time of processors that the servers have used: it is the same on a busy machine.
// https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html
func (l *load) processor() time.Duration {
	l.b.Helper()
	const perSecond = 100 // clock ticks, on every Linux that Go runs on
	sum := time.Duration(0)
	for _, r := range l.replicas {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", r.cmd.Process.Pid))
		if err != nil {
			l.b.Skipf("this system does not say how long a process has worked: %v", err)
		}
		fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:])) // the third field of the page is the first here
		for _, field := range fields[11:13] {
			ticks, err := strconv.Atoi(field)
			if err != nil {
				l.b.Fatal(err)
			}
			sum += time.Duration(ticks) * time.Second / perSecond
		}
	}
	return sum
}

// percentile is the p-th of the durations, in milliseconds.
func percentile(took []time.Duration, p int) float64 {
	sorted := slices.Sorted(slices.Values(took))
	return milliseconds(sorted[len(sorted)*p/100])
}
