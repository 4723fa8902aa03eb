// Package datasource decides whether a volume may be made from what a claim names as its data source: a snapshot, or another claim to
// be cloned.
//
// Resolve reads the claim's two fields once; nothing else reads them. Judge runs the ordered chain of checks for that kind of source over
// Facts and returns the first verdict that is not Allow. There are three: Allow; Deny, which only an edit can mend; and Unknown, for what
// may come by waiting or could not be found out. Both users of the package take the same rules and decide for themselves what Unknown
// means: the provisioner waits, the webhook admits. All of this is pure: values in, values out, and nothing in them is changed.
//
//	claim ──Resolve──▶ Reference ──Reader.Gather──▶ Facts ──Judge──▶ Verdict
//	                                                   └───SourceOf──▶ Source (after Allow)
//
// Reader, SnapshotWatch and GrantWatch are where facts come from, and all here that touches the outside, with AttributesClassWatch, which is
// beside the subject and watches in the same way. The APIs they read may be lacking in a cluster, come later, or not be ours to list: that is
// never an error of the process. They are safe for concurrent use.
//
// The package may import topology and internal packages. It never imports csi: admission must not need the driver.
package datasource
