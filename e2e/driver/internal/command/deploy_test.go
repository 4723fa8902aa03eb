package command_test

import (
	"os"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/berth-csi/berth/e2e/driver/internal/command"
	"github.com/berth-csi/berth/e2e/driver/internal/config"
)

// TestTheDeployedDriverStarts: the values for Berth's chart name flags that there are, and a configuration that is one.
func TestTheDeployedDriverStarts(t *testing.T) {
	raw, err := os.ReadFile("../../deploy/values.yaml")
	good(t, err)
	var values struct {
		Driver struct {
			Name string
			Args []string
		}
		ExtraObjects []struct {
			Kind string
			Data map[string]string
			Spec struct {
				Template struct {
					Spec struct{ Containers []struct{ Args []string } }
				}
			}
		}
	}
	good(t, yaml.Unmarshal(raw, &values))
	commandLines := [][]string{values.Driver.Args}
	for _, object := range values.ExtraObjects {
		for _, container := range object.Spec.Template.Spec.Containers {
			commandLines = append(commandLines, container.Args)
		}
		for name, text := range object.Data {
			c, err := config.Parse([]byte(text))
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if c.DriverName != values.Driver.Name {
				t.Errorf("%s is for %s, and Berth for %s", name, c.DriverName, values.Driver.Name)
			}
		}
	}
	if len(commandLines) != 2 {
		t.Fatalf("%d processes, not a controller and a node plugin", len(commandLines))
	}
	modes := ""
	for _, args := range commandLines {
		serve, rest, err := command.New().Find(args)
		good(t, err)
		if err := serve.ParseFlags(rest); err != nil {
			t.Errorf("%s: %v", strings.Join(args, " "), err)
		}
		good(t, serve.ValidateRequiredFlags())
		mode, err := serve.Flags().GetString("mode")
		good(t, err)
		modes += mode + " "
	}
	if modes != "controller node " {
		t.Errorf("the processes are: %s", modes)
	}
}
