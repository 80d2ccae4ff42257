package plan_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/switchyard-dev/switchyard/plan"
)

// writeBig writes a plan as Terraform does: n resources of 40 attributes, about 10 KB of JSON each over planned_values,
// resource_changes and prior_state, of which every tenth changes a tag and one in a hundred is made anew; or all are created.
func writeBig(w io.Writer, n int, created bool) error {
	out := bufio.NewWriterSize(w, 1<<20)
	var attributes strings.Builder
	for i := range 38 {
		fmt.Fprintf(&attributes, `,"attribute_%02d":"the value of attribute %d, as long as they are: /subscriptions/0000/%02d"`, i, i, i)
	}
	values := func(i int, tag string) string {
		return fmt.Sprintf(`{"id":"/subscriptions/0/resource/%d","tags":{"env":"%s"}%s}`, i, tag, attributes.String())
	}
	list := func(element func(i int)) {
		for i := range n {
			if i > 0 {
				_ = out.WriteByte(',')
			}
			element(i)
		}
	}
	state := func(name string) {
		fmt.Fprintf(out, `"%s":{"values":{"root_module":{"resources":[`, name)
		list(func(i int) {
			fmt.Fprintf(out, `{"address":"azurerm_storage_account.a[%d]","mode":"managed","type":"azurerm_storage_account","name":"a","index":%d,`+
				`"provider_name":"registry.terraform.io/hashicorp/azurerm","schema_version":4,"values":%s,"sensitive_values":{"tags":{}}}`, i, i, values(i, "dev"))
		})
		fmt.Fprint(out, `]}}},`)
	}
	fmt.Fprint(out, `{"format_version":"1.2","terraform_version":"1.11.4",`)
	state("planned_values")
	fmt.Fprint(out, `"resource_changes":[`)
	list(func(i int) {
		actions, tag, before := `"no-op"`, "dev", values(i, "dev")
		switch {
		case created:
			actions, before = `"create"`, "null"
		case i%100 == 7:
			actions, tag = `"delete","create"`, "prod"
		case i%10 == 3:
			actions, tag = `"update"`, "prod"
		}
		fmt.Fprintf(out, `{"address":"azurerm_storage_account.a[%d]","mode":"managed","type":"azurerm_storage_account","name":"a","index":%d,`+
			`"provider_name":"registry.terraform.io/hashicorp/azurerm","change":{"actions":[%s],"before":%s,"after":%s,"after_unknown":{"tags":{}},`+
			`"before_sensitive":{"tags":{}},"after_sensitive":{"tags":{}}}}`, i, i, actions, before, values(i, tag))
	})
	fmt.Fprint(out, `],`)
	if !created {
		state("prior_state")
	}
	fmt.Fprint(out, `"configuration":{"root_module":{}},"errored":false}`)
	return out.Flush()
}

// BenchmarkReadAndDecoder compares reading a plan with what json.Decoder needs to read the same bytes as tokens, which
// is how it reads a document without holding it, and names the peak of memory.
func BenchmarkReadAndDecoder(b *testing.B) {
	for _, size := range []struct {
		n       int
		created bool
	}{{100, false}, {10_000, false}, {50_000, false}, {50_000, true}} {
		n := size.n
		name := filepath.Join(b.TempDir(), "plan.json")
		file, err := os.Create(name)
		if err != nil {
			b.Fatal(err)
		}
		if err := errors.Join(writeBig(file, n, size.created), file.Close()); err != nil {
			b.Fatal(err)
		}
		for _, way := range []struct {
			name string
			read func(io.Reader) error
		}{
			{"json.Decoder, tokens", func(r io.Reader) error { return tokens(json.NewDecoder(r)) }},
			{"json.Decoder, whole", func(r io.Reader) error {
				var all any
				return json.NewDecoder(r).Decode(&all)
			}},
			{"read", func(r io.Reader) error { return digested(r, n, size.created) }},
		} {
			what := "resources"
			if size.created {
				what = "created"
			}
			b.Run(fmt.Sprintf("%d %s, %s", n, what, way.name), func(b *testing.B) {
				if n > 10_000 && way.name == "json.Decoder, whole" {
					b.Skip("it would need gigabytes")
				}
				info, err := os.Stat(name)
				if err != nil {
					b.Fatal(err)
				}
				b.SetBytes(info.Size())
				peak := watchMemory()
				for b.Loop() {
					if err := fromFile(name, way.read); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(peak())/(1<<20), "peak-MB")
			})
		}
	}
}

func digested(r io.Reader, n int, created bool) error {
	read, err := plan.Read(r, plan.Options{})
	if err == nil && !created && read.Set.Counts.Replace != (n+92)/100 {
		return fmt.Errorf("%d replacements", read.Set.Counts.Replace)
	}
	return err
}

func fromFile(name string, read func(io.Reader) error) error {
	file, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(read(file), file.Close())
}

func tokens(decoder *json.Decoder) error {
	for {
		if _, err := decoder.Token(); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
	}
}

// watchMemory gives a function that tells the largest heap since, in bytes.
func watchMemory() func() uint64 {
	debug.FreeOSMemory()
	var largest atomic.Uint64
	stop := make(chan struct{})
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		ticks := time.NewTicker(5 * time.Millisecond) //nolint:forbidigo // a measurement of what goes on meanwhile
		defer ticks.Stop()
		for {
			var memory runtime.MemStats
			runtime.ReadMemStats(&memory)
			largest.Store(max(largest.Load(), memory.HeapSys-memory.HeapReleased))
			select {
			case <-ticks.C:
			case <-stop:
				return
			}
		}
	}()
	return func() uint64 {
		close(stop)
		<-stopped
		return largest.Load()
	}
}
