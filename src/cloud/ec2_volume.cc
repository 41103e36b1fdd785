// Volumes: records that follow their instances (block devices themselves come with the storage issue).
#include "cloud/network.h"
#include "cloud/query.h"
#include "cloud/resources.h"

namespace caravel::cloud {

namespace {

Output create_volume(Context& c, const Value& in) {
  std::string zone = in["AvailabilityZone"].as_string();
  if (!is_zone(c.o, zone)) return fail("InvalidZone.NotFound", "The zone '" + zone + "' does not exist.");
  if (in["Size"].as_int() < 1) return fail("MissingParameter", "The request must contain the parameter size/snapshot");
  TRY(Value tags, tags_for(in, "volume"));
  const std::string& token = in["ClientToken"].as_string();
  if (!token.empty())
    for (auto& [id, v] : c.r.table("volumes"))
      if (v["_token"].as_string() == token) return v;
  std::string id = c.new_id("vol-");
  Value& v = c.r.edit("volumes", id);
  v["VolumeId"] = id;
  v["AvailabilityZone"] = zone;
  v["CreateTime"] = c.timestamp();
  v["Encrypted"] = in["Encrypted"].as_bool();
  v["Size"] = in["Size"];
  v["SnapshotId"] = in["SnapshotId"].as_string();
  v["VolumeType"] = in["VolumeType"].as_string().empty() ? "gp2" : in["VolumeType"].as_string();
  if (in.find("Iops")) v["Iops"] = in["Iops"];
  if (in.find("Throughput")) v["Throughput"] = in["Throughput"];
  v["MultiAttachEnabled"] = in["MultiAttachEnabled"].as_bool();
  v["State"] = "available";
  v["Attachments"] = Value::array();
  v["Tags"] = std::move(tags);
  if (!token.empty()) v["_token"] = token;
  return v;
}

Output describe_volumes(Context& c, const Value& in) {
  static const FilterTable f{{"volume-id", "VolumeId"}, {"status", "State"}, {"availability-zone", "AvailabilityZone"}, {"attachment.instance-id", "Attachments.InstanceId"}, {"attachment.status", "Attachments.State"}, {"attachment.device", "Attachments.Device"}, {"volume-type", "VolumeType"}, {"size", "Size"}, {"encrypted", "Encrypted"}};
  return describe(c, in, {"volumes", "Volumes", "VolumeIds", "InvalidVolume.NotFound", "volume", &f});
}

Output delete_volume(Context& c, const Value& in) {
  const std::string& id = in["VolumeId"].as_string();
  TRY(const Value* v, need(c, "volumes", id, "InvalidVolume.NotFound", "volume"));
  if ((*v)["State"].as_string() != "available") return fail("VolumeInUse", "Volume " + id + " is currently attached to " + (*v)["Attachments"].at(0)["InstanceId"].as_string());
  c.r.erase("volumes", id);
  return done();
}

Output attach_volume(Context& c, const Value& in) {
  const std::string& id = in["VolumeId"].as_string();
  TRY(const Value* v, need(c, "volumes", id, "InvalidVolume.NotFound", "volume"));
  TRY(const Value* i, need(c, "instances", in["InstanceId"].as_string(), "InvalidInstanceID.NotFound", "instance ID"));
  if ((*v)["State"].as_string() != "available") return fail("VolumeInUse", id + " is already attached to an instance");
  if ((*v)["AvailabilityZone"] != (*i)["Placement"]["AvailabilityZone"]) return fail("InvalidVolume.ZoneMismatch", "The volume '" + id + "' is not in the same availability zone as instance '" + in["InstanceId"].as_string() + "'");
  Value a = Value::object();
  a["AttachTime"] = c.timestamp();
  a["Device"] = in["Device"];
  a["InstanceId"] = in["InstanceId"];
  a["State"] = "attached";
  a["VolumeId"] = id;
  a["DeleteOnTermination"] = false;
  Value& e = c.r.edit("volumes", id);
  e["Attachments"] = Value::array({a});
  e["State"] = "in-use";
  return a;
}

Output detach_volume(Context& c, const Value& in) {
  const std::string& id = in["VolumeId"].as_string();
  TRY(const Value* v, need(c, "volumes", id, "InvalidVolume.NotFound", "volume"));
  if ((*v)["Attachments"].size() == 0) return fail("IncorrectState", "Volume '" + id + "' is in the 'available' state.");
  Value a = (*v)["Attachments"].at(0);
  a["State"] = "detaching";
  Value& e = c.r.edit("volumes", id);
  e["Attachments"] = Value::array();
  e["State"] = "available";
  return a;
}

}  // namespace

void add_volume_actions(Handlers& h) {
  h["ec2:CreateVolume"] = create_volume;
  h["ec2:DescribeVolumes"] = describe_volumes;
  h["ec2:DeleteVolume"] = delete_volume;
  h["ec2:AttachVolume"] = attach_volume;
  h["ec2:DetachVolume"] = detach_volume;
}

}  // namespace caravel::cloud
