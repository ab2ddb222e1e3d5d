// Package secretcache knows which Secrets there are, whose they are, and what
// those hold that the objects of a controller name. A reconcile of something that
// has not changed asks the API server for nothing.
//
// # What it guarantees
//
// A Get returns nothing older than what the watch had shown, or this process had
// written, when the Get began; and no Secret that was gone by then. The watch may
// lag, so a Get may return what others have replaced meanwhile: a write insists on
// the resource version that was seen, and its author calls Invalidate when it
// fails. Whatever changes after a Get wakes the objects that name the Secret.
//
// An owner counts in its own namespace only, whatever UID an owner reference
// elsewhere names, and of the Secrets that name one owner maxOwned count: who edits
// a namespace makes neither work nor memory grow.
//
// # What it costs
//
// 150 bytes for each Secret of the cluster: name, version and owner. Contents are
// held of Secrets that an object names, encoded, without managedFields, and at
// most 8 KiB of each; a larger Secret is read each time.
//
// # Why not less
//
// An informer for metadata does the same as the reflector, and keeps half a
// kilobyte of each Secret: with 50,000 Secrets of others the process grew by 57 MB,
// with this package by 8 MB (docs/performance.md).
//
// Without contents each of the three reconciles that a token takes reads Secrets.
// TestRequestsOfAToken in cmd/manager counts the requests to the API server,
// reads included:
//
//	                                     new token   refresh
//	contents are held                            4         2
//	credentials are read each time               6         5
//	credentials and target are, too              7         8
package secretcache
