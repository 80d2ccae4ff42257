package terraform_test

import (
	"os"
	"testing"

	"github.com/switchyard-dev/switchyard/terraform/terraformtest"
)

func TestMain(m *testing.M) {
	terraformtest.Main()
	os.Exit(m.Run())
}
