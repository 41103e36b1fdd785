// An OCI image described as files, and its archive (OCI image layout 1.0 in a tar file).
//
// Deterministic: the same files give the same bytes and so the same digests; owners are root, times are
// zero. Layers are uncompressed: the archive goes to a containerd on the same machine.
#pragma once

#include <string>
#include <vector>

#include "base/json.h"
#include "base/result.h"

namespace caravel::images {

struct ImageFile {
  std::string path;     // in the image, absolute
  std::string source;   // a file of this machine (links are followed), or
  std::string content;  // the content itself, or
  std::string link;     // the target of a symbolic link
  unsigned mode = 0644;
  bool directory = false;
  unsigned uid = 0, gid = 0;
};

struct ImageSpec {
  std::string name;  // "caravel.local/busybox:latest"
  std::vector<std::vector<ImageFile>> layers;
  std::vector<std::string> entrypoint, command, environment;
  std::string working_directory, user;
  std::vector<std::string> exposed_ports;  // "80/tcp"
};

// Names everything that the archive's bytes depend on (sources by size and time of change) without
// reading the sources: equal fingerprints mean an equal image.
Result<std::string> fingerprint(const ImageSpec& spec);

struct BuiltImage {
  std::string manifest_digest;  // "sha256:..."
  uint64_t archive_bytes = 0;
};
// Writes one archive that holds all of `specs` (layers that they share once) to `path`; the result is in
// their order, archive_bytes the whole file's.
Result<std::vector<BuiltImage>> write_archive(const std::vector<ImageSpec>& specs, const std::string& path);

// A tar stream (POSIX ustar) of the files, parents before children, sorted by path, ready to be a layer.
Result<std::string> make_layer(const std::vector<ImageFile>& files);

}  // namespace caravel::images
