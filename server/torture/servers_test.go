package torture_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/switchyard-dev/switchyard/sandbox"
)

// replica is one `switchyard serve`, which can be killed and started again on its data directory.
type replica struct {
	name, address, data string
	command             func(ctx context.Context, r *replica) *exec.Cmd

	mu   sync.Mutex
	cmd  *exec.Cmd
	done chan struct{}
	logs *os.File
}

// start starts it and waits until it answers.
func (r *replica) start(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	cmd := r.command(ctx, r)
	cmd.Stdout, cmd.Stderr = r.logs, r.logs
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", r.name, err)
	}
	done := make(chan struct{})
	go func() {
		_ = cmd.Wait() // killed, as a rule
		close(done)
	}()
	r.cmd, r.done = cmd, done
	ticker := time.NewTicker(10 * time.Millisecond) //nolint:forbidigo // another process gives no signal
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w", r.name, ctx.Err())
		case <-done:
			return fmt.Errorf("%s ended while it started; its log is %s", r.name, r.logs.Name())
		case <-ticker.C:
		}
		conn, err := net.DialTimeout("tcp", r.address, time.Second)
		if err == nil {
			return conn.Close()
		}
	}
}

// kill is kill -9.
func (r *replica) kill() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.cmd == nil {
		return
	}
	_ = r.cmd.Process.Kill() // that it is gone is no error
	<-r.done
	r.cmd = nil
}

// buildProgram builds the product.
func buildProgram(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "switchyard")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, "../../cmd/app").CombinedOutput(); err != nil {
		t.Fatalf("build: %v: %s", err, out)
	}
	return program
}

// newReplica makes one that serves a sandbox, from a database that all of them share, or its own when that is empty.
func newReplica(t *testing.T, box *sandbox.Sandbox, program, terraform, database, dir, name string) *replica {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	logs, err := os.Create(filepath.Join(dir, name+".log")) //nolint:gosec // the test's
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = logs.Close() })
	r := &replica{name: name, address: address, data: filepath.Join(dir, name), logs: logs}
	r.command = func(ctx context.Context, r *replica) *exec.Cmd {
		cmd := exec.CommandContext(ctx, program, "serve") //nolint:gosec // built above
		cmd.Env = []string{
			"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "SWITCHYARD_LISTEN=" + r.address, "SWITCHYARD_DATA_DIR=" + r.data,
			"SWITCHYARD_APP_ID=" + strconv.FormatInt(box.AppID(), 10), "SWITCHYARD_PRIVATE_KEY=" + string(box.PrivateKey()),
			"SWITCHYARD_WEBHOOK_SECRETS=" + box.WebhookSecret(), "SWITCHYARD_GITHUB_URL=" + box.URL(),
			"SWITCHYARD_TERRAFORM_PATH=" + terraform,
			"SWITCHYARD_WRITES_PER_MINUTE=0", "SWITCHYARD_WRITES_PER_HOUR=0", "SWITCHYARD_SWEEP=2s",
			"SWITCHYARD_ISOLATION_WRITE=" + filepath.Dir(terraform) + "," + filepath.Join(dir, "states"), // the journal, and the states
		}
		if database != "" {
			cmd.Env = append(cmd.Env, "SWITCHYARD_DATABASE="+database)
		}
		return cmd
	}
	t.Cleanup(r.kill)
	return r
}

// balancer stands between GitHub and the replicas, as badly as a network can: it gives a delivery to any replica, to two
// of them, or says that it failed and lets it arrive later.
type balancer struct {
	replicas []*replica
	chance   func() float64
	client   *http.Client

	wicked   atomic.Bool
	pending  sync.WaitGroup
	accepted sync.Map // GUIDs that a server has answered with 200, whatever GitHub was told
	counts   struct{ forwarded, doubled, delayed, failed atomic.Int64 }
}

// Shares of deliveries that are not simply handed on.
const (
	shareDoubled = 0.10
	shareDelayed = 0.10
)

func (b *balancer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	forward := func() int { return b.forward(r.Header, body) } //nolint:contextcheck // it may go on after GitHub has hung up
	if b.wicked.Load() {
		switch chance := b.chance(); {
		case chance < shareDoubled:
			b.counts.doubled.Add(1)
			b.pending.Go(func() { forward() })
		case chance < shareDoubled+shareDelayed:
			b.counts.delayed.Add(1)
			late := time.Duration(b.chance() * float64(2*time.Second))
			b.pending.Go(func() {
				<-time.After(late)
				forward()
			})
			http.Error(w, "the network is down", http.StatusBadGateway)
			return
		}
	}
	w.WriteHeader(forward())
}

// forward hands a delivery to some replica.
func (b *balancer) forward(header http.Header, body []byte) int {
	ctx, cancel := context.WithTimeout(context.Background(), 9*time.Second)
	defer cancel()
	target := b.replicas[int(b.chance()*float64(len(b.replicas)))]
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+target.address+"/api/github/hook", bytes.NewReader(body))
	if err != nil {
		return http.StatusBadGateway
	}
	req.Header = header.Clone()
	resp, err := b.client.Do(req)
	if err != nil {
		b.counts.failed.Add(1)
		return http.StatusBadGateway
	}
	_ = resp.Body.Close()
	b.counts.forwarded.Add(1)
	if resp.StatusCode == http.StatusOK {
		b.accepted.Store(header.Get("X-Github-Delivery"), true)
	}
	return resp.StatusCode
}

// chances makes a source of chances in [0, 1) for many goroutines.
func chances(seed uint64) func() float64 {
	var mu sync.Mutex
	source := rand.New(rand.NewPCG(seed, 1)) //nolint:gosec // a test that can be repeated
	return func() float64 {
		mu.Lock()
		defer mu.Unlock()
		return source.Float64()
	}
}
