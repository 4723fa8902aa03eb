package cli

import (
	"io"
	"os"
	"strconv"

	"github.com/berth-csi/berth/e2e/controlplane/internal/component"
	"github.com/berth-csi/berth/e2e/controlplane/internal/supervisor"
)

// ComponentCall is the hidden way to call the program: "component NAME FLAGS...", by which `up` runs the components.
type ComponentCall struct {
	Name component.Name
	Args []string
}

// ParseComponentCall reports whether the program is called that way. It is not a subcommand like others: the flags
// are the component's own and the component takes over the process.
func ParseComponentCall(args []string) (ComponentCall, bool) {
	if len(args) < 3 || args[1] != "component" {
		return ComponentCall{}, false
	}
	name, err := component.Parse(args[2])
	if err != nil {
		return ComponentCall{}, false
	}
	return ComponentCall{Name: name, Args: args[3:]}, true
}

// Lifeline returns what ends when the supervisor does; called by hand, without a supervisor, it never ends. It takes
// over the inherited file, so it is for one call in a process.
func Lifeline() io.Reader {
	fd, err := strconv.Atoi(os.Getenv(supervisor.LifelineVariable))
	if err != nil {
		return endless{}
	}
	return os.NewFile(uintptr(fd), "lifeline")
}

// endless blocks whoever reads.
type endless struct{}

func (endless) Read([]byte) (int, error) { select {} }
