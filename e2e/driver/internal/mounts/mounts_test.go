package mounts

import "testing"

func TestOptionsAreThoseOfABindMount(t *testing.T) {
	for name, row := range map[string]struct {
		options []string
		says    string
	}{
		"none":                                {nil, ""},
		"those of a mount":                    {[]string{"ro", "nosuid", "nodev", "noexec", "noatime"}, ""},
		"those that restrict nothing":         {[]string{"defaults", "rw", "suid"}, ""},
		"one of a file system":                {[]string{"ro", "data=ordered"}, `"data=ordered" is not an option of a bind mount`},
		"several in one, as mount takes them": {[]string{"ro,nosuid"}, `"ro,nosuid" is not an option of a bind mount`},
	} {
		got := ""
		if err := CheckOptions(row.options); err != nil {
			got = err.Error()
		}
		if got != row.says {
			t.Errorf("%s: %q, not %q", name, got, row.says)
		}
	}
}
