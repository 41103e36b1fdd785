// SQS: standard queues. Long polling is the shell's: the action itself answers at once.
#include "base/hash.h"
#include "base/strings.h"
#include "cloud/md5.h"
#include "cloud/query.h"

namespace caravel::cloud {

namespace {

std::string queue_name(const Value& in) {
  const std::string& url = in["QueueUrl"].as_string();
  return url.substr(url.rfind('/') + 1);
}
std::string url_of(Context& c, const std::string& name) { return (c.caller.endpoint.empty() ? c.o.endpoint : c.caller.endpoint) + "/" + c.o.account + "/" + name; }
Error no_queue() { return fail("QueueDoesNotExist", "The specified queue does not exist."); }

Output create_queue(Context& c, const Value& in) {
  const std::string& name = in["QueueName"].as_string();
  bool good = !name.empty() && name.size() <= 80;
  for (char ch : name) good &= std::isalnum(static_cast<unsigned char>(ch)) || ch == '-' || ch == '_' || ch == '.';
  if (!good) return fail("InvalidParameterValue", "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length");
  if (!c.r.find("queues", name)) {
    Value& q = c.r.edit("queues", name);
    q["Attributes"] = in["Attributes"].is_object() ? in["Attributes"] : Value::object();
    q["CreatedTimestamp"] = c.now.seconds();
    q["Tags"] = in["tags"].is_object() ? in["tags"] : Value::object();
    q["_events"] = name == c.o.cluster || name.find("karpenter") != name.npos;  // the interruption queue
  }
  Value out = Value::object();
  out["QueueUrl"] = url_of(c, name);
  return out;
}

Output get_queue_url(Context& c, const Value& in) {
  if (!c.r.find("queues", in["QueueName"].as_string())) return no_queue();
  Value out = Value::object();
  out["QueueUrl"] = url_of(c, in["QueueName"].as_string());
  return out;
}

Output list_queues(Context& c, const Value& in) {
  std::vector<Value> found;
  std::string prefix = in["QueueNamePrefix"].as_string();
  for (auto& [name, q] : c.r.table("queues"))
    if (name.compare(0, prefix.size(), prefix) == 0) found.push_back(url_of(c, name));
  Value out = Value::object();
  TRY(std::vector<Value> items, page(std::move(found), in, out));
  out["QueueUrls"] = Value(std::move(items));
  return out;
}

// The messages of a queue are the records between "name/" and "name0".
std::vector<std::string> messages_of(Context& c, const std::string& queue) {
  std::vector<std::string> out;
  const auto& t = c.r.table("messages");
  for (auto it = t.lower_bound(queue + "/"); it != t.end() && it->first.compare(0, queue.size() + 1, queue + "/") == 0; ++it) out.push_back(it->first);
  return out;
}

Output delete_queue(Context& c, const Value& in) {
  std::string name = queue_name(in);
  if (!c.r.erase("queues", name)) return no_queue();
  for (const std::string& id : messages_of(c, name)) c.r.erase("messages", id);
  return Value::object();
}
Output purge_queue(Context& c, const Value& in) {
  std::string name = queue_name(in);
  if (!c.r.find("queues", name)) return no_queue();
  for (const std::string& id : messages_of(c, name)) c.r.erase("messages", id);
  return Value::object();
}

Output get_attributes(Context& c, const Value& in) {
  std::string name = queue_name(in);
  const Value* q = c.r.find("queues", name);
  if (!q) return no_queue();
  int64_t visible = 0, hidden = 0;
  for (const std::string& id : messages_of(c, name)) ((*c.r.find("messages", id))["VisibleAt"].as_int() <= c.now.millis() ? visible : hidden)++;
  Value all = Value::object();
  for (auto [k, v] : {std::pair("VisibilityTimeout", "30"), std::pair("MaximumMessageSize", "262144"), std::pair("MessageRetentionPeriod", "345600"), std::pair("DelaySeconds", "0"), std::pair("ReceiveMessageWaitTimeSeconds", "0"), std::pair("SqsManagedSseEnabled", "true")}) all[k] = v;
  for (const json::Member& m : (*q)["Attributes"].as_object()) all[m.key] = m.value;
  all["QueueArn"] = c.arn("sqs", name);
  all["ApproximateNumberOfMessages"] = std::to_string(visible);
  all["ApproximateNumberOfMessagesNotVisible"] = std::to_string(hidden);
  all["ApproximateNumberOfMessagesDelayed"] = "0";
  all["CreatedTimestamp"] = std::to_string((*q)["CreatedTimestamp"].as_int());
  all["LastModifiedTimestamp"] = std::to_string((*q)["CreatedTimestamp"].as_int());
  Value out = Value::object();
  out["Attributes"] = Value::object();
  for (const std::string& want : strings(in["AttributeNames"]))
    for (const json::Member& m : std::as_const(all).as_object())
      if (want == "All" || want == m.key) out["Attributes"][m.key] = m.value;
  return out;
}
Output set_attributes(Context& c, const Value& in) {
  std::string name = queue_name(in);
  if (!c.r.find("queues", name)) return no_queue();
  for (const json::Member& m : in["Attributes"].as_object()) c.r.edit("queues", name)["Attributes"][m.key] = m.value;
  return Value::object();
}

Value put_message(Context& c, const std::string& queue, const Value& in, const std::string& delay_default) {
  std::string r = c.new_id("", 32);
  std::string id = r.substr(0, 8) + "-" + r.substr(8, 4) + "-" + r.substr(12, 4) + "-" + r.substr(16, 4) + "-" + r.substr(20, 12);
  int64_t delay = in["DelaySeconds"].as_int(parse_int(delay_default).value_or(0));
  Value m = Value::object();
  m["Queue"] = queue;
  m["MessageId"] = id;
  m["Body"] = in["MessageBody"];
  m["SentTimestamp"] = c.now.millis();
  m["VisibleAt"] = c.now.millis() + delay * 1000;
  m["Count"] = 0;
  if (in["MessageAttributes"].size() > 0) m["MessageAttributes"] = in["MessageAttributes"];
  c.r.put("messages", queue + "/" + format("%020lld-", static_cast<long long>(c.now.ns)) + r.substr(1, 8), std::move(m));
  Value out = Value::object();
  out["MessageId"] = id;
  out["MD5OfMessageBody"] = md5_hex(in["MessageBody"].as_string());
  return out;
}

Output send_message(Context& c, const Value& in) {
  std::string name = queue_name(in);
  const Value* q = c.r.find("queues", name);
  if (!q) return no_queue();
  if (in["MessageBody"].as_string().empty()) return fail("MissingParameter", "The request must contain the parameter MessageBody.");
  return put_message(c, name, in, (*q)["Attributes"]["DelaySeconds"].as_string());
}
Output send_batch(Context& c, const Value& in) {
  std::string name = queue_name(in);
  if (!c.r.find("queues", name)) return no_queue();
  if (in["Entries"].size() == 0 || in["Entries"].size() > 10) return fail("EmptyBatchRequest", "There should be 1 to 10 entries in the request.");
  Value out = Value::object();
  out["Successful"] = Value::array();
  out["Failed"] = Value::array();
  for (const Value& e : in["Entries"].as_array()) {
    Value v = put_message(c, name, e, "0");
    v["Id"] = e["Id"];
    out["Successful"].push_back(std::move(v));
  }
  return out;
}

Output receive_message(Context& c, const Value& in) {
  std::string name = queue_name(in);
  const Value* q = c.r.find("queues", name);
  if (!q) return no_queue();
  int64_t max = in["MaxNumberOfMessages"].as_int(1);
  if (max < 1 || max > 10) return fail("InvalidParameterValue", "Value " + std::to_string(max) + " for parameter MaxNumberOfMessages is invalid. Reason: Must be between 1 and 10, if provided.");
  int64_t hide = in["VisibilityTimeout"].as_int(parse_int((*q)["Attributes"]["VisibilityTimeout"].as_string()).value_or(30));
  int64_t retention = parse_int((*q)["Attributes"]["MessageRetentionPeriod"].as_string()).value_or(345600);
  Value out = Value::object();
  for (const std::string& id : messages_of(c, name)) {
    const Value& old = *c.r.find("messages", id);
    if (old["SentTimestamp"].as_int() + retention * 1000 < c.now.millis()) {
      c.r.erase("messages", id);
      continue;
    }
    if (old["VisibleAt"].as_int() > c.now.millis()) continue;
    Value& m = c.r.edit("messages", id);
    m["VisibleAt"] = c.now.millis() + hide * 1000;
    m["Count"] = std::as_const(m)["Count"].as_int() + 1;
    std::string receipt = base64url_encode(id + "#" + c.new_id("", 16));
    m["Receipt"] = receipt;
    Value v = Value::object();
    v["MessageId"] = m["MessageId"];
    v["ReceiptHandle"] = receipt;
    v["Body"] = m["Body"];
    v["MD5OfBody"] = md5_hex(std::as_const(m)["Body"].as_string());
    if (m.find("MessageAttributes")) v["MessageAttributes"] = m["MessageAttributes"];
    std::vector<std::string> names = strings(in["MessageSystemAttributeNames"]);
    for (const std::string& n : strings(in["AttributeNames"])) names.push_back(n);
    if (!names.empty()) {
      v["Attributes"]["SentTimestamp"] = std::to_string(std::as_const(m)["SentTimestamp"].as_int());
      v["Attributes"]["ApproximateReceiveCount"] = std::to_string(std::as_const(m)["Count"].as_int());
      v["Attributes"]["ApproximateFirstReceiveTimestamp"] = std::to_string(c.now.millis());
      v["Attributes"]["SenderId"] = c.o.account;
    }
    out["Messages"].push_back(std::move(v));
    if (static_cast<int64_t>(std::as_const(out)["Messages"].size()) >= max) break;
  }
  return out;
}

// The message of a receipt; "" when it is gone.
Result<std::string> by_receipt(const std::string& receipt) {
  auto text = base64url_decode(receipt);
  size_t hash = text ? text->rfind('#') : std::string::npos;
  if (hash == std::string::npos) return fail("ReceiptHandleIsInvalid", "The input receipt handle \"" + receipt + "\" is not a valid receipt handle.");
  return text->substr(0, hash);
}

Output delete_message(Context& c, const Value& in) {
  if (!c.r.find("queues", queue_name(in))) return no_queue();
  TRY(std::string id, by_receipt(in["ReceiptHandle"].as_string()));
  c.r.erase("messages", id);
  return Value::object();
}
Output delete_batch(Context& c, const Value& in) {
  if (!c.r.find("queues", queue_name(in))) return no_queue();
  Value out = Value::object();
  out["Successful"] = Value::array();
  out["Failed"] = Value::array();
  for (const Value& e : in["Entries"].as_array()) {
    Value v = Value::object();
    v["Id"] = e["Id"];
    auto id = by_receipt(e["ReceiptHandle"].as_string());
    if (id.ok()) {
      c.r.erase("messages", *id);
      out["Successful"].push_back(std::move(v));
    } else {
      v["Code"] = "ReceiptHandleIsInvalid";
      v["SenderFault"] = true;
      out["Failed"].push_back(std::move(v));
    }
  }
  return out;
}
Output change_visibility(Context& c, const Value& in) {
  if (!c.r.find("queues", queue_name(in))) return no_queue();
  TRY(std::string id, by_receipt(in["ReceiptHandle"].as_string()));
  if (!c.r.find("messages", id)) return fail("MessageNotInflight", "The message is not in flight.");
  c.r.edit("messages", id)["VisibleAt"] = c.now.millis() + in["VisibilityTimeout"].as_int() * 1000;
  return Value::object();
}
Output list_tags(Context& c, const Value& in) {
  const Value* q = c.r.find("queues", queue_name(in));
  if (!q) return no_queue();
  Value out = Value::object();
  out["Tags"] = (*q)["Tags"];
  return out;
}
Output tag_queue(Context& c, const Value& in) {
  if (!c.r.find("queues", queue_name(in))) return no_queue();
  for (const json::Member& m : in["Tags"].as_object()) c.r.edit("queues", queue_name(in))["Tags"][m.key] = m.value;
  return Value::object();
}

}  // namespace

void add_sqs_actions(Handlers& h) {
  static const std::pair<const char*, Handler> kAll[] = {{"CreateQueue", create_queue}, {"GetQueueUrl", get_queue_url}, {"ListQueues", list_queues}, {"DeleteQueue", delete_queue}, {"PurgeQueue", purge_queue}, {"GetQueueAttributes", get_attributes}, {"SetQueueAttributes", set_attributes}, {"SendMessage", send_message}, {"SendMessageBatch", send_batch}, {"ReceiveMessage", receive_message}, {"DeleteMessage", delete_message}, {"DeleteMessageBatch", delete_batch}, {"ChangeMessageVisibility", change_visibility}, {"ListQueueTags", list_tags}, {"TagQueue", tag_queue}};
  for (auto& [name, f] : kAll) h[std::string("sqs:") + name] = f;
}

}  // namespace caravel::cloud
