package runner_test

import (
	"os"
	"os/exec"
	"testing"

	"github.com/switchyard-dev/switchyard/terraform"
)

// TestOpenTofu runs the tests of plans, applies, causes and kept directories once more, with OpenTofu in the place of Terraform.
func TestOpenTofu(t *testing.T) {
	t.Parallel()
	if os.Getenv(realBinary) != "" {
		t.Skip("this is it")
	}
	tofu, err := terraform.Find(t.Context(), terraform.Want{Binary: "tofu"})
	if err != nil {
		t.Skipf("NOTHING IS RUN WITH OPENTOFU: put `tofu` on PATH, https://opentofu.org/docs/intro/install (%v)", err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	const tests = "^Test(Plan|Apply|Nothing|Doubt|Failed|Stopped|Errors|Kept|LockFile|AValue|TheTime|ADataSource|ABlocked|ALost|Reviewed|Notes)"
	cmd := exec.CommandContext(t.Context(), self, "-test.run="+tests, "-test.count=1")
	cmd.Env = append(os.Environ(), realBinary+"="+tofu)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("with %s: %v\n%s", tofu, err, out)
	}
}
